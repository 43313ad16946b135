"""Limits hold to the instant: whoever is late, silent or gone meanwhile, and whichever way they were changed."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from gpuyard.domain.accounts import Caller
from gpuyard.domain.instances import GpuRequest, Instance, InstanceSpec, InstanceState
from gpuyard.providers.fake import FakeSettings, Misbehaviour
from gpuyard.reconcilers.instances import InstanceReconciler
from gpuyard.services import accounts, instances, money
from gpuyard.services.authentication import authenticate
from gpuyard.services.instances import Change, CreateOrder
from gpuyard.services.why import usage
from tests.world import GPU, World

S = InstanceState


async def a_poor_account(world: World, credit_micro: int) -> Caller:
    _, key = await accounts.create(world.yard, world.owner, "poor", "ann", credit_micro)
    return await authenticate(world.yard, key)


async def run_for(world: World, caller: Caller) -> Instance:
    made, _ = await instances.create(world.yard, caller, CreateOrder(spec=InstanceSpec(gpus=(GpuRequest(GPU),))))
    return await world.settled(made)


async def cost(world: World, instance: Instance, caller: Caller | None = None) -> int:
    return (await usage(world.yard, caller or world.owner, instance.id)).cost_micro


async def charged(world: World, instance: Instance) -> int:
    intervals = await world.store.read(lambda tx: tx.ledger.intervals(instance.id))
    return sum(interval.charged_micro for interval in intervals)


async def wakes_at(world: World) -> datetime:
    at = await world.store.read(lambda tx: tx.instances.next_wake())
    assert at is not None
    return at


def without_its_provider(world: World) -> InstanceReconciler:
    world.yard.providers.clear()  # type: ignore[attr-defined]  # what settings without it come to
    return InstanceReconciler(world.yard, "next-server")


@pytest.mark.parametrize("late", [timedelta(), timedelta(hours=7)])
async def test_an_account_spends_what_it_has_and_no_millionth_more(late: timedelta) -> None:
    async with World.made() as world:
        caller = await a_poor_account(world, 2_000_000)
        instance = await run_for(world, caller)
        price = instance.price_per_hour_micro or 0
        world.clock.forward(seconds=2_000_000 / price * 3600 + 0.001)
        world.clock.instant += late

        stopped = await world.settled(instance)

        balance = await money.balance(world.yard, caller)
        assert stopped.state is S.STOPPED
        assert "money is used up" in stopped.state_reason
        assert -2_000_000 <= balance.balance_micro <= -1_999_990


async def test_two_instances_of_one_account_end_together_when_its_money_does() -> None:
    async with World.made() as world:
        caller = await a_poor_account(world, 2_000_000)
        both = [await run_for(world, caller), await run_for(world, caller)]
        world.clock.forward(hours=48)

        states = [(await world.settled(instance)).state for instance in both]

        intervals = [await world.store.read(lambda tx, i=i: tx.ledger.intervals(i.id)) for i in both]  # type: ignore[misc]
        ends = [interval.ended_at for (interval,) in intervals]
        assert states == [S.STOPPED, S.STOPPED]
        assert abs(ends[0] - ends[1]) < timedelta(milliseconds=1)
        assert -2_000_000 <= (await money.balance(world.yard, caller)).balance_micro <= -1_999_990


async def test_the_end_of_the_money_wakes_us_to_the_instant() -> None:
    async with World.made() as world:
        caller = await a_poor_account(world, 2_000_000)
        instance = await run_for(world, caller)
        lasts = timedelta(hours=2_000_000 / (instance.price_per_hour_micro or 1))
        world.clock.instant += lasts - timedelta(seconds=1)

        await world.settled(instance)

        millionth = timedelta(hours=1 / (instance.price_per_hour_micro or 1))
        assert abs(await wakes_at(world) - world.clock.now() - timedelta(seconds=1)) <= millionth


async def test_money_put_in_lets_it_run_on_and_money_taken_out_does_not_reach_back() -> None:
    async with World.made() as world:
        caller = await a_poor_account(world, 2_000_000)
        instance = await run_for(world, caller)
        world.clock.forward(minutes=30)
        await money.credit(world.yard, world.owner, caller.account_id, 50_000_000, "more", "in")
        world.clock.forward(hours=20)
        still = (await world.settled(instance)).state
        used = await cost(world, instance, caller)

        await money.credit(world.yard, world.owner, caller.account_id, -50_000_000, "mistake", "out")
        stopped = await world.settled(instance)

        assert (still, stopped.state) == (S.RUNNING, S.STOPPED)
        assert await cost(world, instance, caller) == await charged(world, instance) == used


async def test_what_costs_nothing_goes_on_without_money() -> None:
    async with World.made(FakeSettings(gpus={GPU: 1}, prices={GPU: 0})) as world:
        caller = await a_poor_account(world, 0)
        instance = await run_for(world, caller)
        world.clock.forward(days=3)

        assert (await world.settled(instance)).state is S.RUNNING


@pytest.mark.parametrize("end", [instances.stop, instances.delete])
async def test_who_ends_it_before_a_late_server_does_pays_no_more_than_the_limit(end) -> None:  # type: ignore[no-untyped-def]
    async with World.made() as world:
        instance = await world.running(max_cost_micro=50_000)
        world.clock.forward(hours=5)

        await end(world.yard, world.owner, instance.id)

        assert 49_990 <= await cost(world, instance) <= 50_000


async def test_a_limit_holds_while_the_provider_is_silent() -> None:
    async with World.made() as world:
        instance = await world.running(max_cost_micro=50_000)
        world.provider.misbehave(Misbehaviour.UNAVAILABLE)
        world.clock.forward(hours=5)

        found = await world.settled(instance)

        assert found.state is S.STOPPING
        assert await cost(world, instance) <= 50_000


async def test_a_limit_holds_while_the_resident_is_silent() -> None:
    async with World.made() as world:
        instance = await world.running(max_duration=timedelta(minutes=30))
        world.provider.machines[instance.id].ready_at = None
        world.clock.forward(hours=5)

        found = await world.settled(instance)

        assert found.state is S.STOPPED
        assert (await usage(world.yard, world.owner, instance.id)).timings.run == timedelta(minutes=30)


async def test_a_limit_never_erases_the_disk_at_a_provider_that_is_missing_from_the_settings() -> None:
    async with World.made() as world:
        instance = await world.running(max_duration=timedelta(minutes=30))
        reconciler = without_its_provider(world)
        world.clock.forward(hours=5)

        await reconciler.reconcile(instance.id)

        assert (await world.now(instance)).state is S.STOPPING


async def test_what_runs_at_a_provider_that_is_missing_from_the_settings_stops_once_it_is_back() -> None:
    async with World.made() as world:
        instance = await world.running()
        reconciler = without_its_provider(world)

        await instances.stop(world.yard, world.owner, instance.id)
        await reconciler.reconcile(instance.id)
        meanwhile = (await world.now(instance)).state
        world.yard.providers["fake"] = world.provider  # type: ignore[index]
        world.clock.forward(hours=3)

        await world.settled(instance)
        assert (meanwhile, (await world.settled(instance)).state) == (S.STOPPING, S.STOPPED)


async def test_a_running_instance_says_that_its_provider_is_not_configured_until_it_is_again() -> None:
    async with World.made() as world:
        instance = await world.running()

        await without_its_provider(world).reconcile(instance.id)
        missing = (await world.now(instance)).state_reason
        world.yard.providers["fake"] = world.provider  # type: ignore[index]
        world.clock.forward(minutes=2)

        assert "'fake' is not configured any more" in missing
        assert (await world.settled(instance)).state_reason == ""


async def test_a_silent_provider_does_not_hide_why_an_instance_failed_or_stopped() -> None:
    async with World.made() as world:
        instance = await world.running(max_cost_micro=50_000)
        world.clock.forward(hours=5)
        reason = (await world.settled(instance)).state_reason
        world.provider.misbehave(Misbehaviour.UNAVAILABLE)
        world.clock.forward(hours=1)

        assert (await world.settled(instance)).state_reason == reason != ""


@pytest.mark.parametrize(
    "lowered", [{"max_cost_micro": 1}, {"max_duration": timedelta(seconds=1)}], ids=["cost", "duration"]
)
async def test_a_limit_lowered_below_what_is_used_ends_the_run_now_and_gives_nothing_back(
    lowered: dict[str, object],
) -> None:
    async with World.made() as world:
        instance = await world.running()
        world.clock.forward(minutes=10)
        used = await cost(world, instance)

        await instances.change(world.yard, world.owner, instance.id, Change(limits=lowered))
        stopped = await world.settled(instance)

        assert stopped.state is S.STOPPED
        assert await cost(world, instance) == await charged(world, instance) == used


async def test_a_limit_raised_after_it_was_reached_charges_what_ran_on() -> None:
    async with World.made() as world:
        instance = await world.running(max_duration=timedelta(minutes=30))
        world.clock.forward(minutes=40)

        await instances.change(
            world.yard, world.owner, instance.id, Change(limits={"max_duration": timedelta(hours=2)})
        )
        found = await world.settled(instance)

        assert found.state is S.RUNNING
        assert (await usage(world.yard, world.owner, instance.id)).timings.run == timedelta(minutes=40)


async def test_who_does_not_answer_is_idle_since_its_last_word() -> None:
    async with World.made() as world:
        instance = await world.running(max_idle=timedelta(minutes=15))
        world.residents.active_at = world.clock.now() + timedelta(minutes=5)
        world.clock.forward(minutes=6)
        await world.settled(instance)
        world.provider.machines[instance.id].ready_at = None
        world.clock.forward(minutes=13)
        before = (await world.settled(instance)).state

        world.clock.forward(minutes=2)

        assert before is S.RUNNING
        assert (await world.settled(instance)).state is S.STOPPED


async def test_a_clock_set_back_charges_nothing_twice() -> None:
    async with World.made() as world:
        instance = await world.running()
        world.clock.forward(minutes=10)
        await world.settled(instance)
        before = await charged(world, instance)
        world.clock.forward(minutes=-8)
        await world.settled(instance)

        await instances.delete(world.yard, world.owner, instance.id)

        assert await charged(world, instance) == await cost(world, instance) == before
        assert (await money.balance(world.yard, world.owner)).balance_micro == -before
