"""What the server asks of the resident inside an instance. `docs/resident.md` is the protocol behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from gpuyard.domain.executions import Execution
from gpuyard.domain.ids import ExecutionId, InstanceId
from gpuyard.domain.sightings import Reach


@dataclass(frozen=True, slots=True)
class Samples:
    """What the resident measured last. `raw` is its whole answer, as the API passes it on."""

    active_at: datetime | None
    """When something last ran, was typed or was transferred in the instance."""
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply whose body is still flowing."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: AsyncIterator[bytes]


class Pipe(Protocol):
    """One end of a WebSocket."""

    subprotocol: str | None

    async def send(self, message: str | bytes) -> None: ...
    async def receive(self) -> str | bytes | None:
        """None when the other side closed."""

    async def close(self) -> None: ...


class Resident(Protocol):
    """Every method may raise InstanceUnreachable; asking again does no harm."""

    async def healthy(self) -> bool:
        """Does it answer? Never raises."""

    async def execute(self, execution: Execution) -> None:
        """Start it, unless it has an execution of this id already. Returns when the resident has it."""

    def journal(self, execution_id: ExecutionId, *, after: int) -> AsyncIterator[bytes]:
        """Raw journal bytes from offset `after`, whole records, as they are written, until the execution ends."""

    async def signal(self, execution_id: ExecutionId, signal: str) -> None:
        """`INT`, `TERM` or `KILL`, to the whole process group."""

    async def feed(self, execution_id: ExecutionId, body: AsyncIterator[bytes], *, eof: bool) -> None:
        """Bytes for its standard input, which `eof` closes. Raises IllegalMove when it is closed, TooLarge."""

    async def samples(self) -> Samples: ...

    def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: AsyncIterator[bytes] | bytes | None = None,
    ) -> AbstractAsyncContextManager[Reply]:
        """Anything else the resident answers, streamed both ways."""

    async def websocket(
        self,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        subprotocols: tuple[str, ...] = (),
    ) -> Pipe: ...


class Residents(Protocol):
    """Opens connections to residents and keeps them."""

    def at(self, instance_id: InstanceId, reach: Reach, secret: str) -> Resident: ...
    async def forget(self, instance_id: InstanceId) -> None:
        """Drop what is kept for an instance that is gone."""

    async def close(self) -> None: ...


class Journals(Protocol):
    """The yard's copies of execution output: append-only bytes that outlive the instance."""

    def size(self, execution_id: ExecutionId) -> int: ...
    def append(self, execution_id: ExecutionId, at: int, data: bytes) -> int:
        """Write `data` at offset `at`; what is there already is not written twice. Returns the new size."""

    def read(self, execution_id: ExecutionId, after: int, limit: int) -> bytes:
        """Up to `limit` bytes of whole records from `after`; empty at the end."""

    def remove(self, execution_id: ExecutionId) -> None: ...
