# Made from `_async/` by scripts/generate_sync.py: change it there.
"""A terminal of an instance, over a WebSocket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gpuyard.sdk import _io
from gpuyard.sdk.core import error_of, segment
from gpuyard.sdk.errors import ConnectionFailed

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from gpuyard.sdk._sync.transport import Transport


class Terminal:
    """A login shell. It stays when the connection goes: opened again under its name, it shows what was last on it."""

    def __init__(self, socket: _io.Socket, name: str) -> None:
        self._socket = socket
        self.name = name
        self.exit_code: int | None = None
        """Known when the shell has ended."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, keys: bytes | str) -> None:
        """Type; Enter is `\\r`."""
        self._socket.send(keys.encode() if isinstance(keys, str) else keys)

    def resize(self, columns: int, rows: int) -> None:
        self._socket.send(json.dumps({"resize": [columns, rows]}))

    def receive(self) -> bytes | None:
        """What it shows next; None when the shell has ended. Raises ConnectionFailed when only the connection has."""
        from websockets.exceptions import ConnectionClosed

        while True:
            try:
                message = self._socket.recv()
            except ConnectionClosed as closed:
                if self.exit_code is not None:
                    return None
                raise ConnectionFailed("the terminal's connection has ended", hint="open it again by name") from closed
            if isinstance(message, bytes):
                return message
            if "exit" in (told := json.loads(message)):
                self.exit_code = told["exit"]
                return None

    def __iter__(self) -> Iterator[bytes]:
        while (shown := self.receive()) is not None:
            yield shown

    def close(self) -> None:
        """Leave it. The shell goes on until it is told `exit`."""
        self._socket.close()


def open_terminal(transport: Transport, instance_path: str, name: str, columns: int, rows: int) -> Terminal:
    from websockets.exceptions import InvalidStatus

    try:
        socket = transport.websocket(f"{instance_path}/terminals/{segment(name)}", {"cols": columns, "rows": rows})
    except InvalidStatus as refused:
        reply = refused.response
        raise error_of(reply.status_code, reply.headers, bytes(reply.body or b"")) from refused
    except OSError as problem:
        raise ConnectionFailed(f"cannot talk to {transport.url}: {problem}") from problem
    return Terminal(socket, name)
