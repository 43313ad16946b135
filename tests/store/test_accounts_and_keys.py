from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gpuyard.domain.accounts import Account, Role, Scope
from gpuyard.domain.ids import InstanceId, new_account_id, new_key_id
from gpuyard.store import SqlStore
from tests.store.builders import NOW, SECOND, a_key, a_member, an_account


async def test_an_account_comes_back_as_it_went_in(store: SqlStore) -> None:
    operator = Account(new_account_id(), "the \x00 yard", NOW, operates_yard=True, credit_micro=-5)

    await store.write(lambda tx: tx.accounts.add(operator))

    assert await store.read(lambda tx: tx.accounts.get(operator.id)) == operator


async def test_an_account_nobody_added_is_none(store: SqlStore) -> None:
    assert await store.read(lambda tx: tx.accounts.get(new_account_id())) is None


async def test_accounts_are_listed_oldest_first(store: SqlStore) -> None:
    young, old = an_account(), an_account(age=SECOND)

    await store.write(lambda tx: (tx.accounts.add(young), tx.accounts.add(old)))

    assert await store.read(lambda tx: tx.accounts.all()) == [old, young]


async def test_a_saved_account_has_its_new_name_and_credit(store: SqlStore, account: Account) -> None:
    changed = replace(account, name="robots", credit_micro=7, operates_yard=True)

    await store.write(lambda tx: tx.accounts.save(changed))

    assert await store.read(lambda tx: tx.accounts.get(account.id)) == changed


async def test_members_belong_to_one_account(store: SqlStore, account: Account) -> None:
    other = an_account()
    member = a_member(account.id)

    await store.write(lambda tx: (tx.accounts.add(other), tx.members.add(member)))

    assert await store.read(lambda tx: tx.members.get(account.id, member.id)) == member
    assert await store.read(lambda tx: tx.members.get(other.id, member.id)) is None
    assert await store.read(lambda tx: tx.members.of(other.id)) == []


async def test_members_are_listed_oldest_first(store: SqlStore, account: Account) -> None:
    young, old = a_member(account.id), a_member(account.id, age=SECOND)

    await store.write(lambda tx: (tx.members.add(young), tx.members.add(old)))

    assert await store.read(lambda tx: tx.members.of(account.id)) == [old, young]


async def test_a_member_can_get_another_role_and_name(store: SqlStore, account: Account) -> None:
    member = a_member(account.id)
    await store.write(lambda tx: tx.members.add(member))
    promoted = replace(member, role=Role.OWNER, name="countess")

    await store.write(lambda tx: tx.members.save(promoted))

    assert await store.read(lambda tx: tx.members.get(account.id, member.id)) == promoted


async def test_a_removed_member_is_gone_and_its_keys_are_not(store: SqlStore, account: Account) -> None:
    member = a_member(account.id)
    key = replace(a_key(account.id), member_id=member.id)
    await store.write(lambda tx: (tx.members.add(member), tx.keys.add(key)))

    await store.write(lambda tx: tx.members.remove(member.id))

    assert await store.read(lambda tx: tx.members.get(account.id, member.id)) is None
    assert await store.read(lambda tx: tx.keys.get(account.id, key.id)) == key


async def test_a_key_is_found_by_its_digest(store: SqlStore, account: Account) -> None:
    key = a_key(account.id, digest="abc")

    await store.write(lambda tx: tx.keys.add(key))

    assert await store.read(lambda tx: tx.keys.by_digest("abc")) == key
    assert await store.read(lambda tx: tx.keys.by_digest("abd")) is None


async def test_a_key_is_not_found_through_another_account(store: SqlStore, account: Account) -> None:
    other, key = an_account(), a_key(account.id)

    await store.write(lambda tx: (tx.accounts.add(other), tx.keys.add(key)))

    assert await store.read(lambda tx: tx.keys.get(other.id, key.id)) is None
    assert await store.read(lambda tx: tx.keys.of(other.id)) == []


async def test_keys_are_listed_oldest_first(store: SqlStore, account: Account) -> None:
    young, old = a_key(account.id, digest="1"), a_key(account.id, digest="2", age=SECOND)

    await store.write(lambda tx: (tx.keys.add(young), tx.keys.add(old)))

    assert await store.read(lambda tx: tx.keys.of(account.id)) == [old, young]


async def test_a_revoked_key_stays_revoked(store: SqlStore, account: Account) -> None:
    key = a_key(account.id)
    await store.write(lambda tx: tx.keys.add(key))
    revoked = replace(
        key,
        revoked_at=NOW,
        expires_at=NOW + SECOND,
        name="old laptop",
        scopes=frozenset({Scope.READ}),
        instance_id=InstanceId("inst_1"),
    )

    await store.write(lambda tx: tx.keys.save(revoked))

    assert await store.read(lambda tx: tx.keys.get(account.id, key.id)) == revoked


async def test_last_use_only_moves_forward(store: SqlStore, account: Account) -> None:
    one, two = a_key(account.id, digest="1"), a_key(account.id, digest="2")
    await store.write(lambda tx: (tx.keys.add(one), tx.keys.add(two)))
    await store.write(lambda tx: tx.keys.used({one.id: NOW}))

    await store.write(lambda tx: tx.keys.used({one.id: NOW - timedelta(hours=1), two.id: NOW, new_key_id(): NOW}))

    keys = await store.read(lambda tx: tx.keys.of(account.id))
    assert [key.last_used_at for key in keys] == [NOW, NOW]
