"""Tells one listener which instances changed, without ever losing or repeating a ring that was not heard yet."""

from __future__ import annotations

import asyncio

from gpuyard.domain.ids import InstanceId


class Bell:
    """Rung from the event loop. Rings for one instance that nobody has heard yet are one ring."""

    def __init__(self) -> None:
        self._rung: dict[InstanceId, None] = {}
        self._heard = asyncio.Event()

    def ring(self, instance_id: InstanceId) -> None:
        self._rung[instance_id] = None
        self._heard.set()

    async def next(self) -> InstanceId:
        """Wait for a ring; the oldest first."""
        while not self._rung:
            self._heard.clear()
            await self._heard.wait()
        instance_id = next(iter(self._rung))
        del self._rung[instance_id]
        return instance_id
