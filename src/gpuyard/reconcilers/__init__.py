"""What takes time, done in the background: look, decide, do, write down; come back later."""

from __future__ import annotations

import asyncio

from gpuyard.ports.provider import CanWatch
from gpuyard.reconcilers.collector import Collector
from gpuyard.reconcilers.instances import InstanceReconciler
from gpuyard.reconcilers.janitor import keep_tidy
from gpuyard.reconcilers.schedule import Schedule, watch
from gpuyard.reconcilers.supply import keep_line_moving, keep_offers_fresh, refresh_offers
from gpuyard.services.yard import Yard

__all__ = ["Reconcilers", "refresh_offers", "run_all"]


class Reconcilers:
    """All of a yard's background work, by parts, so that the server can report on each."""

    def __init__(self, yard: Yard, holder: str) -> None:
        """`holder` names this server in claims: no two living ones of a yard share it, and one that starts again
        where it was killed has the name it had."""
        self.yard = yard
        self.holder = holder
        self.schedule = Schedule(yard, InstanceReconciler(yard, holder))
        self.collector = Collector(yard)

    async def run(self) -> None:
        """Until cancelled. Ends with an error only when a part ended with a bug: the server should stop then."""
        yard = self.yard
        await yard.store.write(lambda tx: tx.instances.disown(self.holder))
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self.schedule.run(), name="instances")
            parts.create_task(self.collector.run(), name="executions")
            parts.create_task(keep_line_moving(yard), name="line")
            parts.create_task(keep_offers_fresh(yard), name="offers")
            parts.create_task(keep_tidy(yard), name="tidy")
            for name, provider in yard.providers.items():
                if isinstance(provider, CanWatch):
                    parts.create_task(watch(yard, provider), name=f"watch {name}")


async def run_all(yard: Yard, holder: str) -> None:
    """Everything, until cancelled. Call `refresh_offers` once before, so that the first order finds offers."""
    await Reconcilers(yard, holder).run()
