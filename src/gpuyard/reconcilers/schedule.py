"""Which instances are looked at when: hints at once, the store's wake times by a slow clock."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from datetime import timedelta

from gpuyard.domain.errors import YardError
from gpuyard.domain.ids import InstanceId
from gpuyard.ports.provider import CanWatch
from gpuyard.reconcilers.instances import InstanceReconciler
from gpuyard.services.yard import Yard

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Passes in flight: enough to hide slow providers, few enough to keep the store's readers free."""
SLOW_LOOK, QUICK_LOOK = timedelta(seconds=1), timedelta(milliseconds=50)
AFTER_A_BUG = timedelta(seconds=10)


@dataclass
class Schedule:
    yard: Yard
    reconciler: InstanceReconciler
    passes: int = 0
    """How many were begun; for the metrics."""
    _running: dict[InstanceId, asyncio.Task[None]] = field(default_factory=dict)
    _crowded_out: set[InstanceId] = field(default_factory=set)
    """Woken while as many passes were in flight as there may be: they are next when one ends."""

    async def run(self) -> None:
        """Until cancelled; then waits for the passes in flight, whose claims would otherwise linger."""
        yard = self.yard
        try:
            while True:
                rung = yard.hints.instances.rung
                now = yard.clock.now()
                try:
                    due, wakes_at = await yard.store.read(
                        lambda tx, now=now: (tx.instances.due(now, limit=AT_ONCE), tx.instances.next_wake())  # type: ignore[misc]
                    )
                except YardError as trouble:
                    log.warning("cannot look for due instances: %s", trouble.message)
                    await yard.clock.sleep(SLOW_LOOK.total_seconds())
                    continue
                crowded_out, self._crowded_out = self._crowded_out, set()
                for instance_id in dict.fromkeys([*crowded_out, *yard.hints.take_woken(), *due]):
                    self._begin(instance_id)
                wait = SLOW_LOOK if wakes_at is None else min(max(wakes_at - now, QUICK_LOOK), SLOW_LOOK)
                await yard.hints.instances.heard(rung, wait.total_seconds())
        finally:
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _begin(self, instance_id: InstanceId) -> None:
        if instance_id in self._running:
            return
        if len(self._running) >= AT_ONCE:
            self._crowded_out.add(instance_id)
            return
        self.passes += 1
        task = asyncio.create_task(self._guarded(instance_id), name=f"reconcile {instance_id}")
        self._running[instance_id] = task
        task.add_done_callback(lambda _: self._ended(instance_id))

    def _ended(self, instance_id: InstanceId) -> None:
        self._running.pop(instance_id, None)
        self.yard.hints.instances.ring()

    async def _guarded(self, instance_id: InstanceId) -> None:
        """A bug met on one instance must not stop the others; it is logged and met again later, not at once."""
        try:
            await self.reconciler.reconcile(instance_id)
        except YardError as trouble:  # the store is in trouble: the instance stays due, and nothing is lost
            log.warning("cannot reconcile %s now: %s", instance_id, trouble.message)
            await self.yard.clock.sleep(SLOW_LOOK.total_seconds())
        except Exception:
            log.exception("reconciling %s failed", instance_id)
            again = self.yard.clock.now() + AFTER_A_BUG
            with contextlib.suppress(YardError):
                await self.yard.store.write(lambda tx: tx.instances.wake(instance_id, again))


async def watch(yard: Yard, provider: CanWatch) -> None:
    """Turn a provider's own news into hints. Until cancelled; without news, wake times still do the work."""
    while True:
        try:
            yard.hints.wake(await provider.changed())
        except Exception:
            log.exception("a provider cannot say what changed")
            await yard.clock.sleep(AFTER_A_BUG.total_seconds())
