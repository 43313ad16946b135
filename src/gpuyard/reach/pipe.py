"""One WebSocket to a resident."""

from __future__ import annotations

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from gpuyard.domain.ids import InstanceId
from gpuyard.reach.failures import unreachable


class WebSocketPipe:
    """A `ports.residents.Pipe` over one connection."""

    def __init__(self, connection: ClientConnection, instance_id: InstanceId) -> None:
        self._connection = connection
        self._instance_id = instance_id
        self.subprotocol: str | None = connection.subprotocol

    async def send(self, message: str | bytes) -> None:
        try:
            await self._connection.send(message)
        except ConnectionClosed as error:
            raise unreachable(self._instance_id, error) from error

    async def receive(self) -> str | bytes | None:
        try:
            return await self._connection.recv()
        except ConnectionClosed:
            return None

    async def close(self) -> None:
        await self._connection.close()
