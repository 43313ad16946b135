"""Which instances are looked at when there are more than can be looked at together."""

from __future__ import annotations

import asyncio
import contextlib

from gpuyard.domain.ids import InstanceId
from gpuyard.providers.fake import FakeSettings
from gpuyard.reconcilers.instances import InstanceReconciler
from gpuyard.reconcilers.schedule import AT_ONCE, Schedule
from tests.world import GPU, World


class StuckReconciler(InstanceReconciler):
    """Every pass waits to be let go."""

    def __init__(self, world: World) -> None:
        super().__init__(world.yard, "stuck")
        self.begun: list[InstanceId] = []
        self.let_go = asyncio.Event()

    async def reconcile(self, instance_id: InstanceId) -> None:
        self.begun.append(instance_id)
        await self.let_go.wait()
        await super().reconcile(instance_id)


async def test_those_crowded_out_wait_without_a_busy_loop_and_are_next() -> None:
    async with World.made(FakeSettings(gpus={GPU: AT_ONCE + 5})) as world:
        made = [await world.create() for _ in range(AT_ONCE + 5)]
        reconciler = StuckReconciler(world)
        looks = 0
        read = world.store.read

        async def counting(fn):  # type: ignore[no-untyped-def]
            nonlocal looks
            looks += 1
            return await read(fn)

        world.store.read = counting  # type: ignore[method-assign]
        work = asyncio.create_task(Schedule(world.yard, reconciler).run())
        async with asyncio.timeout(20):
            while len(reconciler.begun) < AT_ONCE:
                await asyncio.sleep(0.001)
        looks_before = looks
        for _ in range(200):
            await asyncio.sleep(0)
        await asyncio.sleep(0.2)
        looks_while_full = looks - looks_before

        reconciler.let_go.set()
        async with asyncio.timeout(20):
            while len(set(reconciler.begun)) < len(made):
                await asyncio.sleep(0.001)
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work

        assert looks_while_full < 10
