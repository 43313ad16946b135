"""Passes over instances: every crash point is a state already handled, and nothing is charged or ordered twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from gpuyard.domain.instances import InstanceState
from gpuyard.providers.fake import FakeSettings, Misbehaviour
from gpuyard.reconcilers import refresh_offers
from gpuyard.reconcilers.instances import InstanceReconciler
from gpuyard.reconcilers.janitor import sweep
from gpuyard.services import instances, money
from gpuyard.services.moves import ClaimLost, move
from gpuyard.services.why import usage
from tests.world import GPU, World

S = InstanceState


async def test_ten_passes_order_one_machine() -> None:
    async with World.made() as world:
        instance = await world.create()

        for _ in range(10):
            await world.reconciler.reconcile(instance.id)

        assert list(world.provider.machines) == [instance.id]
        assert world.provider.machines[instance.id].orders == 1
        assert (await world.now(instance)).state is S.RUNNING


async def test_a_lost_reply_to_the_order_leads_to_one_machine() -> None:
    async with World.made() as world:
        instance = await world.create()
        world.provider.misbehave(Misbehaviour.LOSE_REPLY)
        await world.settled(instance)
        world.provider.misbehave(Misbehaviour.NONE)

        found = await world.settled(instance)

        assert found.state is S.RUNNING
        assert world.provider.machines[instance.id].orders == 1


async def test_a_refusal_ends_it_and_frees_the_gpu() -> None:
    async with World.made() as world:
        world.provider.misbehave(Misbehaviour.REFUSE)
        instance = await world.create()

        failed = await world.settled(instance)

        assert failed.state is S.FAILED
        assert "refuses" in failed.state_reason
        assert await world.in_use() == 0


async def test_a_provider_that_lied_puts_who_may_wait_back_in_line() -> None:
    async with World.made() as world:
        world.provider.misbehave(Misbehaviour.LIE)
        patient, hasty = await world.create(wait=True), await world.create()

        back, failed = await world.settled(patient), await world.settled(hasty)

        assert (back.state, failed.state) == (S.WAITING, S.FAILED)
        assert await world.in_use() == 0


async def test_who_was_put_back_in_line_is_served_once_the_provider_is_believed_again() -> None:
    async with World.made() as world:
        world.provider.misbehave(Misbehaviour.LIE)
        instance = await world.create(wait=True)
        await world.settled(instance)
        await world.serve_line()
        assert (await world.now(instance)).state is S.WAITING

        world.provider.misbehave(Misbehaviour.NONE)
        world.clock.forward(minutes=1)
        await refresh_offers(world.yard)
        await world.serve_line()

        assert (await world.settled(instance)).state is S.RUNNING


async def test_a_silent_provider_changes_nothing_and_is_asked_again() -> None:
    async with World.made() as world:
        instance = await world.running()
        world.provider.misbehave(Misbehaviour.UNAVAILABLE)
        world.clock.forward(seconds=10)

        found = await world.settled(instance)

        assert found.state is S.RUNNING
        assert await world.store.read(lambda tx: tx.instances.next_wake()) is not None


async def test_a_vanished_machine_is_paid_to_when_it_was_last_seen() -> None:
    async with World.made() as world:
        instance = await world.running()
        world.clock.forward(minutes=10)
        await world.settled(instance)
        seen_until = (await usage(world.yard, world.owner, instance.id)).cost_micro
        world.clock.forward(hours=5)
        world.provider.misbehave(Misbehaviour.VANISH)

        gone = await world.settled(instance)

        assert gone.state is S.FAILED
        assert (await usage(world.yard, world.owner, instance.id)).cost_micro == seen_until
        assert (await money.balance(world.yard, world.owner)).balance_micro == -seen_until


async def test_a_machine_that_crashed_keeps_its_disk() -> None:
    async with World.made() as world:
        instance = await world.running()
        world.provider.machines[instance.id].failed = "out of memory"
        world.clock.forward(seconds=10)

        found = await world.settled(instance)

        assert found.state in (S.STOPPING, S.STOPPED)
        assert "out of memory" in found.state_reason


@pytest.mark.parametrize("beyond", [timedelta(), timedelta(hours=3)])
async def test_a_cost_limit_is_never_exceeded_however_late_we_look(beyond: timedelta) -> None:
    async with World.made() as world:
        instance = await world.running(max_cost_micro=50_000)
        hours = 50_000 / (instance.price_per_hour_micro or 1)
        world.clock.forward(seconds=hours * 3600 + 0.001)
        world.clock.instant += beyond

        stopped = await world.settled(instance)

        assert stopped.state in (S.STOPPING, S.STOPPED)
        assert "cost limit" in stopped.state_reason
        assert 49_990 <= (await usage(world.yard, world.owner, instance.id)).cost_micro <= 50_000


async def test_a_duration_limit_counts_all_runs_together() -> None:
    async with World.made() as world:
        instance = await world.running(max_duration=timedelta(minutes=30))
        world.clock.forward(minutes=20)
        await instances.stop(world.yard, world.owner, instance.id)
        await world.settled(instance)
        await instances.start(world.yard, world.owner, instance.id)
        await world.settled(instance)

        world.clock.forward(minutes=11)
        await world.settled(instance)

        used = await usage(world.yard, world.owner, instance.id)
        assert (await world.now(instance)).state is S.STOPPED
        assert used.timings.run == timedelta(minutes=30)


async def test_a_running_instance_wakes_us_at_its_limit_not_a_watch_later() -> None:
    async with World.made() as world:
        instance = await world.running(max_duration=timedelta(seconds=2))
        await world.settled(instance)

        wakes_at = await world.store.read(lambda tx: tx.instances.next_wake())

        assert wakes_at is not None
        assert wakes_at - (await world.now(instance)).entered_at <= timedelta(seconds=2)


async def test_an_idle_instance_stops_after_its_idle_limit() -> None:
    async with World.made() as world:
        instance = await world.running(max_idle=timedelta(minutes=15))
        world.residents.active_at = world.clock.now() + timedelta(minutes=5)
        world.clock.forward(minutes=19)
        busy = (await world.settled(instance)).state

        world.clock.forward(minutes=2)
        await world.settled(instance)

        assert busy is S.RUNNING
        assert (await world.now(instance)).state is S.STOPPED


async def test_who_waits_too_long_gives_up_without_cost() -> None:
    async with World.made() as world:
        await world.create(count=2)
        instance = await world.create(wait=True, max_start=timedelta(minutes=5))
        world.clock.forward(minutes=6)

        gave_up = await world.settled(instance)

        assert gave_up.state is S.FAILED
        assert "300 seconds" in gave_up.state_reason
        assert (await usage(world.yard, world.owner, instance.id)).cost_micro == 0


async def test_a_machine_that_never_gets_ready_is_given_back() -> None:
    async with World.made() as world:
        world.provider.misbehave(Misbehaviour.STUCK)
        instance = await world.create()
        await world.reconciler._pass(await _claim(world, instance.id))
        await world.reconciler._pass(await _claim(world, instance.id))
        world.provider.misbehave(Misbehaviour.NONE)
        world.clock.forward(minutes=21)

        failed = await world.settled(instance)

        assert failed.state is S.FAILED
        assert world.provider.machines == {}
        assert await world.in_use() == 0


async def test_a_stop_that_a_dead_server_left_unasked_overnight_keeps_the_disk() -> None:
    async with World.made() as world:
        instance = await world.running()
        await instances.stop(world.yard, world.owner, instance.id)
        world.clock.forward(hours=9)

        await world.settled(instance)
        stopped = await world.settled(instance)

        assert stopped.state is S.STOPPED
        assert list(world.provider.machines) == [instance.id]


async def test_an_order_that_a_dead_server_left_unasked_overnight_is_placed_by_the_next() -> None:
    async with World.made() as world:
        instance = await world.create()
        world.clock.forward(hours=9)

        await InstanceReconciler(world.yard, "next-server").reconcile(instance.id)

        assert (await world.now(instance)).state is S.RUNNING


async def test_a_machine_that_will_not_go_is_asked_away_until_it_is_gone() -> None:
    async with World.made(FakeSettings(gpus={GPU: 1})) as world:
        instance = await world.running()
        world.provider.misbehave(Misbehaviour.DEAF)
        await instances.delete(world.yard, world.owner, instance.id)
        await world.reconciler._pass(await _claim(world, instance.id))
        still_held = await world.in_use()
        world.clock.forward(hours=1)
        world.provider.misbehave(Misbehaviour.NONE)

        await world.settled(instance)
        gone = await world.settled(instance)

        assert (still_held, gone.state) == (1, S.DELETED)
        assert world.provider.machines == {}


async def test_a_second_server_leaves_a_claimed_instance_alone() -> None:
    async with World.made() as world:
        instance = await world.create()
        await _claim(world, instance.id, holder="other-server")

        await InstanceReconciler(world.yard, "this-server").reconcile(instance.id)

        assert world.provider.calls == []


async def test_a_server_that_lost_its_claim_writes_nothing() -> None:
    async with World.made() as world:
        instance = await world.running()
        late = await _claim(world, instance.id)
        world.clock.forward(minutes=5)
        await _claim(world, instance.id, holder="other-server")

        with pytest.raises(ClaimLost):
            await world.store.write(
                lambda tx: move(tx, instance, instances.InstanceEvent.VANISHED, now=world.clock.now(), claim=late)
            )

        assert (await world.now(instance)).state is S.RUNNING
        assert await world.in_use() == 1


async def test_a_delete_while_we_looked_is_not_overwritten() -> None:
    async with World.made() as world:
        instance = await world.create()
        claim = await _claim(world, instance.id)
        sight = world.provider.sight

        async def deleted_meanwhile(*args: object) -> object:
            await instances.delete(world.yard, world.owner, instance.id)
            return await sight(instance.id)

        world.provider.sight = deleted_meanwhile  # type: ignore[method-assign,assignment]
        await world.reconciler._pass(claim)

        assert (await world.now(instance)).state is S.DELETING


async def test_a_machine_nobody_remembers_is_released() -> None:
    async with World.made() as world:
        instance = await world.running()
        order = world.yard.order_for(await world.now(instance))
        stray = type(instance.id)("inst_ffffffffffffffffffffffff")
        await world.provider.order(
            type(order)(**{**{f: getattr(order, f) for f in order.__slots__}, "instance_id": stray})
        )

        released = await sweep(world.yard)

        assert released == [stray]
        assert list(world.provider.machines) == [instance.id]


async def test_a_machine_that_was_gone_and_comes_back_is_released() -> None:
    async with World.made() as world:
        instance = await world.running()
        lost = world.provider.machines.pop(instance.id)
        failed = await world.settled(instance)
        world.provider.machines[instance.id] = lost

        released = await sweep(world.yard)

        assert (failed.state, released) == (S.FAILED, [instance.id])
        assert world.provider.machines == {}


async def test_a_provider_that_never_answers_is_one_that_does_not_answer() -> None:
    async with World.made() as world:
        instance = await world.create()
        hanging = asyncio.Event()
        world.provider.sight = lambda _: hanging.wait()  # type: ignore[method-assign,assignment,return-value]
        reconciler = InstanceReconciler(world.yard, "this-server", answer_within=timedelta(milliseconds=20))

        async with asyncio.timeout(10):
            await reconciler.reconcile(instance.id)

        assert "did not answer" in (await world.now(instance)).state_reason


async def _claim(world: World, instance_id, holder: str = "test"):  # type: ignore[no-untyped-def]
    now = world.clock.now()
    claim = await world.store.write(
        lambda tx: tx.instances.claim(instance_id, holder, now=now, until=now + timedelta(seconds=60))
    )
    if claim is None:  # whoever held it is gone by the told clock
        world.clock.forward(minutes=2)
        return await _claim(world, instance_id, holder)
    return claim
