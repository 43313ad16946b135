"""A terminal of an instance, over a WebSocket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from gpuyard.sdk import _io
from gpuyard.sdk.core import error_of, segment
from gpuyard.sdk.errors import ConnectionFailed

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from gpuyard.sdk._async.transport import AsyncTransport


class AsyncTerminal:
    """A login shell. It stays when the connection goes: opened again under its name, it shows what was last on it."""

    def __init__(self, socket: _io.AsyncSocket, name: str) -> None:
        self._socket = socket
        self.name = name
        self.exit_code: int | None = None
        """Known when the shell has ended."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def send(self, keys: bytes | str) -> None:
        """Type; Enter is `\\r`."""
        await self._socket.send(keys.encode() if isinstance(keys, str) else keys)

    async def resize(self, columns: int, rows: int) -> None:
        await self._socket.send(json.dumps({"resize": [columns, rows]}))

    async def receive(self) -> bytes | None:
        """What it shows next; None when the shell has ended. Raises ConnectionFailed when only the connection has."""
        from websockets.exceptions import ConnectionClosed

        while True:
            try:
                message = await self._socket.recv()
            except ConnectionClosed as closed:
                if self.exit_code is not None:
                    return None
                raise ConnectionFailed("the terminal's connection has ended", hint="open it again by name") from closed
            if isinstance(message, bytes):
                return message
            if "exit" in (told := json.loads(message)):
                self.exit_code = told["exit"]
                return None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (shown := await self.receive()) is not None:
            yield shown

    async def aclose(self) -> None:
        """Leave it. The shell goes on until it is told `exit`."""
        await self._socket.close()


async def open_terminal(
    transport: AsyncTransport, instance_path: str, name: str, columns: int, rows: int
) -> AsyncTerminal:
    from websockets.exceptions import InvalidStatus

    try:
        socket = await transport.websocket(
            f"{instance_path}/terminals/{segment(name)}", {"cols": columns, "rows": rows}
        )
    except InvalidStatus as refused:
        reply = refused.response
        raise error_of(reply.status_code, reply.headers, bytes(reply.body or b"")) from refused
    except OSError as problem:
        raise ConnectionFailed(f"cannot talk to {transport.url}: {problem}") from problem
    return AsyncTerminal(socket, name)
