"""Bearer keys: made once, shown once, revoked at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from gpuyard.domain.accounts import (
    INSTANCE_KEY_SCOPES,
    Caller,
    Key,
    Scope,
    digest,
    hint_of,
    new_account_secret,
    new_instance_secret,
)
from gpuyard.domain.errors import Forbidden, NotFound
from gpuyard.domain.events import Event
from gpuyard.domain.ids import KeyId, MemberId, new_key_id
from gpuyard.ports.store import Tx
from gpuyard.services.authentication import scopes_of
from gpuyard.services.instances import find
from gpuyard.services.yard import Yard


@dataclass(frozen=True, slots=True)
class KeyOrder:
    name: str = ""
    scopes: frozenset[Scope] | None = None
    """None for all the member's role has."""
    member_id: str | None = None
    instance: str | None = None
    """Makes a key for this one instance."""
    expires_in: timedelta | None = None


async def create(yard: Yard, caller: Caller, order: KeyOrder) -> tuple[Key, str]:
    """The key and its secret, which nobody can ever see again. Raises Forbidden for scopes the caller lacks."""
    caller.must(Scope.KEYS)
    if order.member_id not in (None, caller.member_id):
        caller.must(Scope.MEMBERS)
    secret = new_instance_secret() if order.instance is not None else new_account_secret()
    now = yard.clock.now()

    def write(tx: Tx) -> Key:
        member = tx.members.get(caller.account_id, MemberId(order.member_id or caller.member_id))
        account = tx.accounts.get(caller.account_id)
        if member is None or account is None:
            raise NotFound(f"there is no member {order.member_id!r}")
        instance = find(tx, caller, order.instance) if order.instance is not None else None
        most = INSTANCE_KEY_SCOPES if instance else scopes_of(member.role, operates_yard=account.operates_yard)
        scopes = most if order.scopes is None else order.scopes
        if order.member_id in (None, caller.member_id):
            most &= caller.scopes
            scopes = most if order.scopes is None else scopes
        if extra := scopes - most:
            raise Forbidden(
                f"a key cannot be given what its maker lacks: {', '.join(sorted(extra))}",
                field="scopes",
                hint=f"you may give: {', '.join(sorted(most))}",
            )
        key = Key(
            id=new_key_id(),
            account_id=caller.account_id,
            member_id=member.id,
            name=order.name,
            digest=digest(secret),
            hint=hint_of(secret),
            scopes=scopes,
            created_at=now,
            instance_id=instance.id if instance is not None else None,
            expires_at=now + order.expires_in if order.expires_in is not None else None,
        )
        tx.keys.add(key)
        tx.events.add(Event(key.account_id, key.id, "key.created", now, {"name": key.name, "hint": key.hint}))
        return key

    return await yard.store.write(write), secret


async def of_account(yard: Yard, caller: Caller) -> Sequence[Key]:
    """All keys of the account for who may manage members, one's own for others."""
    caller.must(Scope.KEYS)
    keys = await yard.store.read(lambda tx: tx.keys.of(caller.account_id))
    if Scope.MEMBERS in caller.scopes:
        return keys
    return [key for key in keys if key.member_id == caller.member_id]


async def revoke(yard: Yard, caller: Caller, key_id: str) -> Key:
    """The key is refused from now on. Of a revoked one: no effect."""
    caller.must(Scope.KEYS)
    now = yard.clock.now()

    def write(tx: Tx) -> Key:
        key = tx.keys.get(caller.account_id, KeyId(key_id))
        if key is None or (key.member_id != caller.member_id and Scope.MEMBERS not in caller.scopes):
            raise NotFound(f"there is no key {key_id!r}", hint="`gpuyard keys ls` lists yours")
        if key.revoked_at is not None:
            return key
        revoked = replace(key, revoked_at=now)
        tx.keys.save(revoked)
        tx.events.add(Event(key.account_id, key.id, "key.revoked", now, {"name": key.name, "hint": key.hint}))
        return revoked

    revoked = await yard.store.write(write)
    yard.known_keys.forget()
    return revoked
