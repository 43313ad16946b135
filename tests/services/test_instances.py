"""Creating, stopping, starting and deleting: what the caller is promised."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from gpuyard.domain.accounts import Caller, Scope
from gpuyard.domain.errors import (
    Forbidden,
    IdempotencyConflict,
    IllegalMove,
    InsufficientBalance,
    Invalid,
    NameTaken,
    NoCapacity,
    NotFound,
    UnknownGpu,
)
from gpuyard.domain.instances import GpuRequest, InstanceSpec, InstanceState
from gpuyard.providers.fake import FakeSettings
from gpuyard.services import accounts, instances, money
from gpuyard.services.authentication import authenticate
from gpuyard.services.instances import Change, CreateOrder
from tests.world import GPU, World

S = InstanceState


async def test_an_order_with_room_is_placed_at_a_fixed_price() -> None:
    async with World.made() as world:
        instance = await world.create()

        assert (instance.state, instance.provider) == (S.REQUESTED, "fake")
        assert instance.price_per_hour_micro == world.yard.offers.all[0].price_per_hour_micro
        assert instance.name == f"compute-gpu-{instance.short_id}"


async def test_the_same_idempotency_key_makes_one_instance() -> None:
    async with World.made() as world:
        first = await world.create(idempotency_key="k", request_digest="d")
        again = await world.create(idempotency_key="k", request_digest="d")

        assert again.id == first.id
        assert await world.in_use() == 1


async def test_another_request_under_the_same_idempotency_key_is_a_conflict() -> None:
    async with World.made() as world:
        await world.create(idempotency_key="k", request_digest="d")

        with pytest.raises(IdempotencyConflict):
            await world.create(idempotency_key="k", request_digest="other")


async def test_many_orders_at_once_never_take_more_than_there_is() -> None:
    async with World.made(FakeSettings(gpus={GPU: 5})) as world:
        outcomes = await asyncio.gather(*(world.create() for _ in range(40)), return_exceptions=True)

        refused = [o for o in outcomes if isinstance(o, NoCapacity)]
        assert len(refused) == 35
        assert await world.in_use() == 5


async def test_no_capacity_names_what_is_missing_and_what_is_not() -> None:
    async with World.made() as world:
        both = InstanceSpec(gpus=(GpuRequest(GPU, 2), GpuRequest("nvidia-rtx-4090", 1)))
        await world.create(count=2)

        with pytest.raises(NoCapacity) as refused:
            await instances.create(world.yard, world.owner, CreateOrder(spec=both))

        assert refused.value.details["unavailable"] == [{"type": GPU, "asked": 2, "free": 0}]
        assert refused.value.details["available"] == [{"type": "nvidia-rtx-4090", "asked": 1, "free": 1}]


async def test_allow_partial_takes_what_there_is() -> None:
    async with World.made() as world:
        both = InstanceSpec(gpus=(GpuRequest(GPU, 2), GpuRequest("nvidia-rtx-4090", 1)))
        await world.create()

        made, _ = await instances.create(world.yard, world.owner, CreateOrder(spec=both, allow_partial=True))

        assert made.spec.gpus == (GpuRequest(GPU, 1), GpuRequest("nvidia-rtx-4090", 1))
        assert made.state is S.REQUESTED


async def test_an_unknown_gpu_is_refused_with_the_nearest_names() -> None:
    async with World.made() as world:
        with pytest.raises(UnknownGpu) as refused:
            await world.create(gpu="rtx-3900")

        assert "nvidia-rtx-3090" in (refused.value.hint or "")


async def test_a_gpu_this_yard_does_not_have_is_refused_even_for_those_who_would_wait() -> None:
    async with World.made() as world:
        with pytest.raises(UnknownGpu) as refused:
            await world.create(gpu="nvidia-h100", wait=True)

        assert refused.value.details["offered"] == [GPU, "nvidia-rtx-4090"]


async def test_more_than_any_place_has_is_refused_even_for_those_who_would_wait() -> None:
    async with World.made() as world:
        with pytest.raises(Invalid) as refused:
            await world.create(count=3, wait=True)

        assert refused.value.field == "gpus"


async def test_who_comes_later_does_not_overtake_who_waits() -> None:
    async with World.made() as world:
        await world.create()
        first = await world.create(count=2, wait=True)
        await world.serve_line()

        with pytest.raises(NoCapacity) as refused:
            await world.create(count=1)

        assert first.state is S.WAITING
        assert refused.value.details["reason"] == "behind_others"


async def test_a_place_that_becomes_free_goes_to_the_first_in_line() -> None:
    async with World.made() as world:
        holder = await world.running(count=2)
        first, second = await world.create(wait=True, count=2), await world.create(wait=True, count=2)
        await instances.delete(world.yard, world.owner, holder.id)
        await world.settled(holder)

        await world.serve_line()

        assert (await world.now(first)).state is S.REQUESTED
        assert (await world.now(second)).state is S.WAITING


async def test_a_name_in_use_is_refused_and_free_again_after_deletion() -> None:
    async with World.made() as world:
        first = await world.running(name="fern")
        with pytest.raises(NameTaken):
            await world.create(name="fern")

        await instances.delete(world.yard, world.owner, "fern")
        await world.settled(first)

        assert (await world.create(name="fern")).name == "fern"


async def test_id_short_id_and_name_all_find_it() -> None:
    async with World.made() as world:
        instance = await world.create(name="fern")

        found = [await instances.get(world.yard, world.owner, ref) for ref in (instance.id, instance.short_id, "fern")]

        assert {one.id for one in found} == {instance.id}


async def test_another_account_finds_nothing() -> None:
    async with World.made() as world:
        instance = await world.create(name="fern")
        _, key = await accounts.create(world.yard, world.owner, "other", "ann", None)
        stranger = await authenticate(world.yard, key)

        for ref in (instance.id, instance.short_id, "fern"):
            for ask in (instances.get, instances.stop, instances.start, instances.delete):
                with pytest.raises(NotFound):
                    await ask(world.yard, stranger, ref)


async def test_an_instance_key_sees_its_instance_alone() -> None:
    async with World.made() as world:
        mine, other = await world.create(), await world.create()
        owner = world.owner
        caller = Caller(owner.account_id, owner.member_id, owner.key_id, frozenset({Scope.READ, Scope.RUN}), mine.id)

        assert (await instances.get(world.yard, caller, mine.id)).id == mine.id
        with pytest.raises(NotFound):
            await instances.get(world.yard, caller, other.id)
        with pytest.raises(Forbidden):
            await instances.delete(world.yard, caller, mine.id)


async def test_stop_keeps_the_disk_and_frees_the_gpu() -> None:
    async with World.made() as world:
        instance = await world.running()
        await instances.stop(world.yard, world.owner, instance.id)

        stopped = await world.settled(instance)

        assert (stopped.state, stopped.has_disk) == (S.STOPPED, True)
        assert await world.in_use() == 0
        assert list(world.provider.machines) == [instance.id]


async def test_a_stopped_instance_starts_again_where_its_disk_is() -> None:
    async with World.made() as world:
        instance = await world.running()
        await instances.stop(world.yard, world.owner, instance.id)
        await world.settled(instance)

        await instances.start(world.yard, world.owner, instance.id)

        assert (await world.settled(instance)).state is S.RUNNING
        assert world.provider.machines[instance.id].starts == 1


async def test_a_stopped_instance_without_room_joins_the_line_or_is_told() -> None:
    async with World.made() as world:
        instance = await world.running(count=2)
        await instances.stop(world.yard, world.owner, instance.id)
        await world.settled(instance)
        await world.create()

        with pytest.raises(NoCapacity):
            await instances.start(world.yard, world.owner, instance.id)
        waiting = await instances.start(world.yard, world.owner, instance.id, wait=True)

        assert (waiting.state, waiting.has_disk) == (S.WAITING, True)
        assert list(world.provider.machines) == [instance.id]


async def test_stopping_what_never_ran_is_refused_with_the_remedy() -> None:
    async with World.made() as world:
        instance = await world.create()

        with pytest.raises(IllegalMove) as refused:
            await instances.stop(world.yard, world.owner, instance.id)

        assert "delete" in (refused.value.hint or "")


async def test_deleting_twice_is_deleting_once() -> None:
    async with World.made() as world:
        instance = await world.running()

        await instances.delete(world.yard, world.owner, instance.id)
        await instances.delete(world.yard, world.owner, instance.id)
        deleted = await world.settled(instance)
        again = await instances.delete(world.yard, world.owner, instance.id)

        assert (deleted.state, again.state) == (S.DELETED, S.DELETED)
        assert world.provider.machines == {}


async def test_changes_touch_only_what_is_given() -> None:
    async with World.made() as world:
        instance = await world.create(labels={"team": "vision"}, priority=10)

        changed = await instances.change(world.yard, world.owner, instance.id, Change(name="fern"))

        assert (changed.name, changed.labels, changed.priority) == ("fern", {"team": "vision"}, 10)


async def test_an_account_without_credit_cannot_order_what_it_cannot_pay() -> None:
    async with World.made() as world:
        poor, key = await accounts.create(world.yard, world.owner, "poor", "ann", 0)
        caller = await authenticate(world.yard, key)
        order = CreateOrder(spec=InstanceSpec(gpus=(GpuRequest(GPU, 1),)))
        with pytest.raises(InsufficientBalance):
            await instances.create(world.yard, caller, order)

        await money.credit(world.yard, world.owner, poor.id, 100_000_000, "welcome", "first")
        made, _ = await instances.create(world.yard, caller, order)

        assert made.state is S.REQUESTED
        assert (await money.balance(world.yard, caller)).held_micro == made.price_per_hour_micro


async def test_a_credit_repeated_under_its_key_is_given_once() -> None:
    async with World.made() as world:
        for _ in range(2):
            balance = await money.credit(world.yard, world.owner, world.owner.account_id, 5, "gift", "same")

        assert balance.balance_micro == 5


async def test_usage_of_a_span_adds_up_to_the_whole() -> None:
    async with World.made() as world:
        began = world.clock.now()
        instance = await world.running()
        world.clock.forward(seconds=1000.000001)
        await instances.delete(world.yard, world.owner, instance.id)
        await world.settled(instance)
        end = world.clock.now() + timedelta(hours=1)

        whole = await money.usage(world.yard, world.owner, began, end)
        cut = began + timedelta(seconds=333.333333)
        parts = [
            *await money.usage(world.yard, world.owner, began, cut),
            *await money.usage(world.yard, world.owner, cut, end),
        ]

        assert sum(part.cost_micro for part in parts) == whole[0].cost_micro
        assert (await money.balance(world.yard, world.owner)).balance_micro == -whole[0].cost_micro


async def test_two_changes_at_once_of_different_limits_both_hold() -> None:
    async with World.made() as world:
        instance = await world.create()

        await asyncio.gather(
            instances.change(world.yard, world.owner, instance.id, Change(limits={"max_cost_micro": 5})),
            instances.change(world.yard, world.owner, instance.id, Change(limits={"max_idle": timedelta(hours=1)})),
        )

        limits = (await world.now(instance)).limits
        assert (limits.max_cost_micro, limits.max_idle) == (5, timedelta(hours=1))


async def test_a_limit_changed_to_none_is_lifted() -> None:
    async with World.made() as world:
        instance = await world.create(max_cost_micro=5)

        changed = await instances.change(world.yard, world.owner, instance.id, Change(limits={"max_cost_micro": None}))

        assert changed.limits.max_cost_micro is None
