"""A server that dies before or after anything it does: nothing leaks, nothing is lost, nobody pays twice."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gpuyard.domain.errors import StorageFull, YardError
from gpuyard.domain.instances import Instance, InstanceState
from gpuyard.providers.fake import FakeSettings, Misbehaviour
from gpuyard.reconcilers import refresh_offers
from gpuyard.reconcilers.instances import InstanceReconciler
from gpuyard.services import instances, line
from gpuyard.services.instances import Change
from tests.world import GPU, World

S, M = InstanceState, Misbehaviour
CARDS = 2
STEPS = 120


class Died(BaseException):
    """The server is no more."""


class Deadly:
    """Lets calls die before they happen, or after, when nobody hears of it any more."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._chance = chance
        self.armed = False
        for owner, names in ((world.store, ["write", "read"]), (world.provider, ["order", "start", "stop", "release"])):
            for name in names:
                setattr(owner, name, self._deadly(getattr(owner, name)))

    def _deadly(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def called(*args: Any) -> Any:
            if self.armed and self._chance.random() < 0.08:
                raise Died
            result = await call(*args)
            if self.armed and self._chance.random() < 0.08:
                raise Died
            return result

        return called


async def survive(world: World, deadly: Deadly, work: Callable[[], Awaitable[object]]) -> None:
    """Do it, and start the server again if it died of it."""
    deadly.armed = True
    try:
        await work()
    except Died:
        deadly.armed = False
        world.reconciler = InstanceReconciler(world.yard, "this-server")
        world.noted.clear()
        await world.store.write(lambda tx: tx.instances.disown("this-server"))
    except YardError:
        pass  # a no is an answer
    finally:
        deadly.armed = False


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_everything_can_be_given_back_and_is_paid_once(seed: int) -> None:
    async with World.made(FakeSettings(gpus={GPU: CARDS})) as world:
        chance = random.Random(seed)
        deadly = Deadly(world, chance)
        made: list[Instance] = []

        async def create() -> None:
            made.append(await world.create(wait=chance.random() < 0.7, max_cost_micro=chance.choice([None, 90_000])))

        async def ask() -> None:
            if made:
                verb = chance.choice([instances.stop, instances.start, instances.delete])
                await verb(world.yard, world.owner, chance.choice(made).id)

        async def change() -> None:
            if made:
                limits = {"max_cost_micro": chance.choice([None, 1, 50_000])}
                await instances.change(world.yard, world.owner, chance.choice(made).id, Change(limits=limits))

        async def look() -> None:
            if made:
                await world.reconciler.reconcile(chance.choice(made).id)

        async def serve() -> None:
            await line.serve(world.yard, world.noted)

        async def time_passes() -> None:
            world.clock.forward(seconds=chance.choice([0.1, 3, 40, 700, 4000]))
            await refresh_offers(world.yard)

        async def trouble() -> None:
            ways = [M.NONE, M.NONE, M.SLOW, M.REFUSE, M.LIE, M.LOSE_REPLY, M.UNAVAILABLE, M.CRASH, M.STUCK, M.DEAF]
            world.provider.misbehave(chance.choice([*ways, M.VANISH]))

        for _ in range(STEPS):
            await survive(
                world, deadly, chance.choice([create, ask, change, look, look, look, serve, time_passes, trouble])
            )
            assert await world.in_use() <= CARDS
            await check_books(world)

        world.provider.misbehave(M.NONE)
        every = await world.store.read(lambda tx: tx.instances.in_state(*set(S) - {S.DELETED}))
        for instance in every:
            await instances.delete(world.yard, world.owner, instance.id)
        for _ in range(6):
            world.clock.forward(minutes=2)
            for instance in every:
                await world.settled(instance)
        assert {(await world.now(instance)).state for instance in every} <= {S.DELETED}
        assert (world.provider.machines, await world.in_use()) == ({}, 0)
        assert await world.store.read(lambda tx: tx.ledger.held(world.owner.account_id)) == 0
        assert await world.store.read(lambda tx: tx.ledger.open_intervals()) == []
        assert {instance.id for instance in made} <= {instance.id for instance in await everything(world)}
        await check_books(world)


async def everything(world: World) -> list[Instance]:
    return list(await world.store.read(lambda tx: tx.instances.in_state(*S)))


async def check_books(world: World) -> None:
    """What was charged is what the intervals say; what was held back or promised belongs to somebody who may have it."""
    every = await everything(world)
    promised_nothing = {S.WAITING, S.STOPPED, S.DELETED}
    balance = await world.store.read(lambda tx: tx.ledger.balance(world.owner.account_id))
    charged = 0
    for instance in every:
        intervals = await world.store.read(lambda tx, i=instance: tx.ledger.intervals(i.id))  # type: ignore[misc]
        promised = await world.store.read(lambda tx, i=instance: tx.allocations.of(i.id))  # type: ignore[misc]
        charged += sum(interval.charged_micro for interval in intervals)
        for interval in intervals:
            if interval.ended_at is not None:
                assert interval.charged_micro == interval.cost_until(interval.ended_at)
        assert any(interval.ended_at is None for interval in intervals) == (instance.state is S.RUNNING)
        assert sum(promised.values()) == 0 or instance.state not in promised_nothing, f"{instance.state} has {promised}"
        assert promised or instance.state not in (S.REQUESTED, S.PROVISIONING, S.STARTING, S.RUNNING)
    assert balance == -charged


async def test_a_full_disk_at_the_provider_is_told_and_waited_out() -> None:
    async with World.made() as world:
        instance = await world.create()
        order = world.provider.order

        async def full(_: object) -> None:
            raise StorageFull("fake cannot write to its disk")

        world.provider.order = full  # type: ignore[method-assign,assignment]
        told = (await world.settled(instance)).state_reason
        world.provider.order = order  # type: ignore[method-assign]
        world.clock.forward(seconds=5)

        assert "cannot write" in told
        assert (await world.settled(instance)).state is S.RUNNING
