"""Accounts and the people in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gpuyard.domain.accounts import (
    Account,
    Caller,
    Key,
    Member,
    Role,
    Scope,
    digest,
    hint_of,
    new_account_secret,
)
from gpuyard.domain.errors import Forbidden, IllegalMove, Invalid, NotFound
from gpuyard.domain.ids import AccountId, MemberId, new_account_id, new_key_id, new_member_id
from gpuyard.ports.store import Tx
from gpuyard.services.authentication import scopes_of
from gpuyard.services.meters import settle_account
from gpuyard.services.money import Balance, balance_of
from gpuyard.services.yard import Yard

MIN_SECRET = 24


async def first_owner(yard: Yard, secret: str | None = None) -> str | None:
    """Make the account that operates the yard, unless there is one; the key of its owner, None if there was one.

    `secret` (GPUYARD_OWNER_KEY) sets that key; where the account exists already it is added to the owner's keys.
    Raises Invalid for a secret that could be guessed.
    """
    if secret is not None and (not secret.startswith("sk_compute_") or len(secret) < MIN_SECRET):
        raise Invalid(
            "the owner's key cannot be used",
            field="GPUYARD_OWNER_KEY",
            hint=f"at least {MIN_SECRET} characters, starting with sk_compute_",
        )

    def write(tx: Tx) -> str | None:
        operators = [account for account in tx.accounts.all() if account.operates_yard]
        if not operators:
            return _found(tx, yard, "owner", "owner", operates_yard=True, credit_micro=None, secret=secret)[1]
        if secret is not None and tx.keys.by_digest(digest(secret)) is None:
            owner = next(m for m in tx.members.of(operators[0].id) if m.role is Role.OWNER)
            _give_key(tx, yard, owner, operators[0], secret, "from GPUYARD_OWNER_KEY")
        return None

    made = await yard.store.write(write)
    yard.known_keys.forget()
    return made


async def create(
    yard: Yard, caller: Caller, name: str, owner_name: str, credit_micro: int | None
) -> tuple[Account, str]:
    """A new account and its owner's key, shown this once. For the yard's operator."""
    caller.must(Scope.YARD)
    return await yard.store.write(
        lambda tx: _found(tx, yard, name, owner_name, operates_yard=False, credit_micro=credit_micro, secret=None)
    )


async def all_accounts(yard: Yard, caller: Caller) -> Sequence[Account]:
    """Every account for the operator, your own for everybody else."""
    caller.must(Scope.READ)
    if Scope.YARD in caller.scopes:
        return await yard.store.read(lambda tx: tx.accounts.all())
    return [await get(yard, caller, caller.account_id)]


async def get(yard: Yard, caller: Caller, account_id: str) -> Account:
    caller.must(Scope.READ)
    if account_id != caller.account_id and Scope.YARD not in caller.scopes:
        raise NotFound(f"there is no account {account_id!r}")
    account = await yard.store.read(lambda tx: tx.accounts.get(AccountId(account_id)))
    if account is None:
        raise NotFound(f"there is no account {account_id!r}")
    return account


async def change(
    yard: Yard, caller: Caller, account_id: str, *, name: str | None, credit_micro: int | None, sets_credit: bool
) -> Account:
    """Rename; `sets_credit` says that `credit_micro` is meant, None being no limit. For the yard's operator."""
    caller.must(Scope.YARD)

    def write(tx: Tx) -> Account:
        account = tx.accounts.get(AccountId(account_id))
        if account is None:
            raise NotFound(f"there is no account {account_id!r}")
        changed = replace(
            account,
            name=account.name if name is None else name,
            credit_micro=credit_micro if sets_credit else account.credit_micro,
        )
        if sets_credit:
            settle_account(tx, account.id, yard.clock.now())
        tx.accounts.save(changed)
        return changed

    return await yard.store.write(write)


async def me(yard: Yard, caller: Caller) -> tuple[Balance, Member, Key]:
    """Who the caller is. Raises NotFound when it was removed a moment ago."""

    def look(tx: Tx) -> tuple[Balance, Member, Key]:
        member = tx.members.get(caller.account_id, caller.member_id)
        key = tx.keys.get(caller.account_id, caller.key_id)
        if member is None or key is None:
            raise NotFound("this key's member is gone")
        return balance_of(tx, caller.account_id), member, key

    return await yard.store.read(look)


async def members(yard: Yard, caller: Caller) -> Sequence[Member]:
    caller.must(Scope.READ)
    if caller.instance_id is not None:
        raise Forbidden("an instance key sees its instance alone")
    return await yard.store.read(lambda tx: tx.members.of(caller.account_id))


async def add_member(yard: Yard, caller: Caller, name: str, role: Role) -> Member:
    """A new member; give them a key with `keys.create(member_id=…)`."""
    caller.must(Scope.MEMBERS)
    member = Member(new_member_id(), caller.account_id, name, role, yard.clock.now())
    await yard.store.write(lambda tx: tx.members.add(member))
    return member


async def change_member(yard: Yard, caller: Caller, member_id: str, name: str | None, role: Role | None) -> Member:
    """Raises IllegalMove when the account would be left without an owner."""
    caller.must(Scope.MEMBERS)

    def write(tx: Tx) -> Member:
        member = _member(tx, caller, member_id)
        changed = replace(member, name=name or member.name, role=role or member.role)
        tx.members.save(changed)
        _check_owner_left(tx, caller.account_id)
        return changed

    changed = await yard.store.write(write)
    yard.known_keys.forget()
    return changed


async def remove_member(yard: Yard, caller: Caller, member_id: str) -> None:
    """Remove a member and revoke their keys; what they made stays the account's."""
    caller.must(Scope.MEMBERS)
    now = yard.clock.now()

    def write(tx: Tx) -> None:
        member = _member(tx, caller, member_id)
        for key in tx.keys.of(caller.account_id):
            if key.member_id == member.id and key.revoked_at is None:
                tx.keys.save(replace(key, revoked_at=now))
        tx.members.remove(member.id)
        _check_owner_left(tx, caller.account_id)

    await yard.store.write(write)
    yard.known_keys.forget()


def _member(tx: Tx, caller: Caller, member_id: str) -> Member:
    member = tx.members.get(caller.account_id, MemberId(member_id))
    if member is None:
        raise NotFound(f"there is no member {member_id!r}")
    return member


def _check_owner_left(tx: Tx, account_id: AccountId) -> None:
    if not any(member.role is Role.OWNER for member in tx.members.of(account_id)):
        raise IllegalMove("an account needs at least one owner", hint="make somebody else an owner first")


def _found(
    tx: Tx,
    yard: Yard,
    name: str,
    owner_name: str,
    *,
    operates_yard: bool,
    credit_micro: int | None,
    secret: str | None,
) -> tuple[Account, str]:
    now = yard.clock.now()
    account = Account(new_account_id(), name, now, operates_yard, credit_micro)
    owner = Member(new_member_id(), account.id, owner_name, Role.OWNER, now)
    key = secret or new_account_secret()
    tx.accounts.add(account)
    tx.members.add(owner)
    _give_key(tx, yard, owner, account, key, "owner's first key")
    return account, key


def _give_key(tx: Tx, yard: Yard, member: Member, account: Account, secret: str, name: str) -> None:
    tx.keys.add(
        Key(
            id=new_key_id(),
            account_id=account.id,
            member_id=member.id,
            name=name,
            digest=digest(secret),
            hint=hint_of(secret),
            scopes=scopes_of(member.role, operates_yard=account.operates_yard),
            created_at=yard.clock.now(),
        )
    )
