"""Keys: made once, shown once, never more than their maker has, refused the moment they are revoked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gpuyard.domain.accounts import Role, Scope
from gpuyard.domain.errors import Forbidden, IllegalMove, Invalid, NotFound, Unauthenticated
from gpuyard.services import accounts, instances, keys
from gpuyard.services.authentication import authenticate
from gpuyard.services.keys import KeyOrder
from tests.world import World


async def test_a_key_opens_the_account_it_was_made_for() -> None:
    async with World.made() as world:
        _, secret = await keys.create(world.yard, world.owner, KeyOrder(name="laptop"))

        caller = await authenticate(world.yard, secret)

        assert caller.account_id == world.owner.account_id
        assert secret.startswith("sk_compute_")


async def test_the_secret_is_kept_nowhere() -> None:
    async with World.made() as world:
        _, secret = await keys.create(world.yard, world.owner, KeyOrder())

        kept = await world.store.read(lambda tx: tx.keys.of(world.owner.account_id))

        assert all(secret not in repr(key) for key in kept)


async def test_a_revoked_key_is_refused_at_once() -> None:
    async with World.made() as world:
        key, secret = await keys.create(world.yard, world.owner, KeyOrder())
        await authenticate(world.yard, secret)

        await keys.revoke(world.yard, world.owner, key.id)

        with pytest.raises(Unauthenticated):
            await authenticate(world.yard, secret)


async def test_a_key_ends_with_its_time_even_if_it_was_just_used() -> None:
    async with World.made() as world:
        _, secret = await keys.create(world.yard, world.owner, KeyOrder(expires_in=timedelta(milliseconds=500)))
        await authenticate(world.yard, secret)

        world.clock.forward(milliseconds=501)

        with pytest.raises(Unauthenticated):
            await authenticate(world.yard, secret)


async def test_nobody_gives_away_more_than_they_have() -> None:
    async with World.made() as world:
        _, secret = await keys.create(world.yard, world.owner, KeyOrder(scopes=frozenset({Scope.READ, Scope.KEYS})))
        reader = await authenticate(world.yard, secret)

        with pytest.raises(Forbidden) as refused:
            await keys.create(world.yard, reader, KeyOrder(scopes=frozenset({Scope.WRITE})))
        _, copy = await keys.create(world.yard, reader, KeyOrder())

        assert refused.value.field == "scopes"
        assert (await authenticate(world.yard, copy)).scopes == reader.scopes


async def test_an_instance_key_carries_only_what_an_instance_key_may() -> None:
    async with World.made() as world:
        instance = await world.create()
        _, secret = await keys.create(world.yard, world.owner, KeyOrder(instance=instance.name))

        caller = await authenticate(world.yard, secret)

        assert secret.startswith("sk_live_")
        assert (caller.instance_id, caller.scopes) == (instance.id, {Scope.READ, Scope.RUN})


async def test_a_member_made_viewer_loses_the_right_at_once() -> None:
    async with World.made() as world:
        ann = await accounts.add_member(world.yard, world.owner, "ann", Role.MEMBER)
        _, secret = await keys.create(world.yard, world.owner, KeyOrder(member_id=ann.id))
        await authenticate(world.yard, secret)

        await accounts.change_member(world.yard, world.owner, ann.id, None, Role.VIEWER)

        with pytest.raises(Forbidden):
            await instances.delete(world.yard, await authenticate(world.yard, secret), "any")


async def test_a_removed_member_is_shut_out() -> None:
    async with World.made() as world:
        ann = await accounts.add_member(world.yard, world.owner, "ann", Role.MEMBER)
        _, secret = await keys.create(world.yard, world.owner, KeyOrder(member_id=ann.id))

        await accounts.remove_member(world.yard, world.owner, ann.id)

        with pytest.raises(Unauthenticated):
            await authenticate(world.yard, secret)


async def test_an_account_never_loses_its_last_owner() -> None:
    async with World.made() as world:
        with pytest.raises(IllegalMove):
            await accounts.change_member(world.yard, world.owner, world.owner.member_id, None, Role.VIEWER)
        with pytest.raises(IllegalMove):
            await accounts.remove_member(world.yard, world.owner, world.owner.member_id)

        assert (await authenticate(world.yard, world.owner_key)).scopes == world.owner.scopes


async def test_a_member_sees_and_revokes_only_their_own_keys() -> None:
    async with World.made() as world:
        ann = await accounts.add_member(world.yard, world.owner, "ann", Role.MEMBER)
        mine, secret = await keys.create(world.yard, world.owner, KeyOrder(member_id=ann.id))
        caller = await authenticate(world.yard, secret)

        listed = await keys.of_account(world.yard, caller)

        assert [key.id for key in listed] == [mine.id]
        with pytest.raises(NotFound):
            await keys.revoke(world.yard, caller, world.owner.key_id)


async def test_the_operator_alone_makes_accounts_and_sees_the_others() -> None:
    async with World.made() as world:
        other, key = await accounts.create(world.yard, world.owner, "other", "ann", None)
        stranger = await authenticate(world.yard, key)

        seen = await accounts.all_accounts(world.yard, stranger)

        assert [account.id for account in seen] == [other.id]
        with pytest.raises(Forbidden):
            await accounts.create(world.yard, stranger, "third", "bob", None)
        with pytest.raises(NotFound):
            await accounts.get(world.yard, stranger, world.owner.account_id)


async def test_the_first_owner_is_made_once() -> None:
    async with World.made() as world:
        assert await accounts.first_owner(world.yard) is None
        assert len(await accounts.all_accounts(world.yard, world.owner)) == 1


async def test_an_owner_key_that_is_set_works_beside_the_first_one() -> None:
    async with World.made() as world:
        secret = "sk_compute_chosen-by-the-owner"

        await accounts.first_owner(world.yard, secret)

        assert (await authenticate(world.yard, secret)).account_id == world.owner.account_id
        assert Scope.YARD in (await authenticate(world.yard, world.owner_key)).scopes


@pytest.mark.parametrize("secret", ["sk_compute_short", "another-prefix-that-is-long-enough", ""])
async def test_an_owner_key_that_could_be_guessed_is_refused(secret: str) -> None:
    async with World.made() as world:
        with pytest.raises(Invalid) as refused:
            await accounts.first_owner(world.yard, secret)

        assert refused.value.field == "GPUYARD_OWNER_KEY"
