"""Wake-ups within this process. A lost one costs a moment: every listener also looks by a slow clock."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from weakref import WeakValueDictionary

from gpuyard.domain.ids import AccountId, ExecutionId, InstanceId


class Bell:
    """Something that can be heard by everyone who listens, even if it rang a moment before they did."""

    __slots__ = ("__weakref__", "_listeners", "rung")

    def __init__(self) -> None:
        self.rung = 0
        self._listeners: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        self.rung += 1
        listeners, self._listeners = self._listeners, set()
        for listener in listeners:
            if not listener.done():
                listener.set_result(None)

    async def heard(self, since: int, timeout: float) -> bool:
        """Wait until it has rung more than `since` times, at most `timeout` seconds. True if it has."""
        if self.rung > since:
            return True
        listener: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listeners.add(listener)
        try:
            await asyncio.wait({listener}, timeout=timeout)
        finally:
            self._listeners.discard(listener)
            listener.cancel()
        return self.rung > since


class Hints:
    """What changed, for those in this process who wait for it. Ring after the transaction, never inside."""

    def __init__(self) -> None:
        self.instances = Bell()
        self.line = Bell()
        self.executions = Bell()
        self._woken: set[InstanceId] = set()
        self._events: defaultdict[AccountId, Bell] = defaultdict(Bell)
        # kept only while somebody listens: there may be a bell for every instance and execution there ever was
        self._instances: WeakValueDictionary[InstanceId, Bell] = WeakValueDictionary()
        self._journals: WeakValueDictionary[ExecutionId, Bell] = WeakValueDictionary()

    def wake(self, instance_id: InstanceId) -> None:
        """A reconciler should look at this instance now."""
        self._woken.add(instance_id)
        self.instances.ring()
        if bell := self._instances.get(instance_id):
            bell.ring()

    def take_woken(self) -> set[InstanceId]:
        woken, self._woken = self._woken, set()
        return woken

    def instance(self, instance_id: InstanceId) -> Bell:
        """Rings when this instance is woken. Hold on to it for as long as you listen."""
        return self._instances.setdefault(instance_id, Bell())

    def events(self, account_id: AccountId) -> Bell:
        """Rings when the account has a new event."""
        return self._events[account_id]

    def journal(self, execution_id: ExecutionId) -> Bell:
        """Rings when the execution's output or state changed. Hold on to it for as long as you listen."""
        return self._journals.setdefault(execution_id, Bell())

    def journal_grew(self, execution_id: ExecutionId) -> None:
        if bell := self._journals.get(execution_id):
            bell.ring()
