"""Keeps one pool of connections per instance for as long as the instance can be reached."""

from __future__ import annotations

import asyncio

from gpuyard.domain.ids import InstanceId
from gpuyard.domain.sightings import Reach
from gpuyard.reach.resident import HttpResident


class HttpResidents:
    """`ports.residents.Residents`: HTTP and WebSocket over a Unix socket or a base URL."""

    def __init__(self, *, connections_per_instance: int = 1024) -> None:
        self._connections = connections_per_instance
        self._open: dict[InstanceId, HttpResident] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def at(self, instance_id: InstanceId, reach: Reach, secret: str) -> HttpResident:
        """The same resident gets the same connections; one that moved gets new ones and the old are closed."""
        known = self._open.get(instance_id)
        if known is not None and known.is_at(reach, secret):
            return known
        fresh = HttpResident(instance_id, reach, secret, connections=self._connections)
        self._open[instance_id] = fresh
        if known is not None:
            self._close_behind(known)
        return fresh

    async def forget(self, instance_id: InstanceId) -> None:
        known = self._open.pop(instance_id, None)
        if known is not None:
            await known.close()

    async def close(self) -> None:
        for instance_id in list(self._open):
            await self.forget(instance_id)
        await asyncio.gather(*self._closing)

    def _close_behind(self, resident: HttpResident) -> None:
        task = asyncio.get_running_loop().create_task(resident.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
