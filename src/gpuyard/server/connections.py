"""HTTP connections from strangers: how long and how large the head of a request may be, and how many there may be.

uvicorn has no such bounds with httptools: whoever can connect, without any key, could fill the memory with headers or hold
connections open for ever.
"""

from __future__ import annotations

import asyncio
import resource

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 30.0
"""From the first byte of a request, or from the connection on, to the end of its headers."""
_FEWEST, _MOST = 128, 20_000

_FULL = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def most_connections() -> int:
    """Three in four of the files this process may have open; the rest is for databases, residents and journals."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if limit == resource.RLIM_INFINITY else max(_FEWEST, min(limit * 3 // 4, _MOST))


class BoundedHttp(HttpToolsProtocol):
    """One connection. Bodies and answers may take as long as they like; only who has a key gets that far."""

    head_bytes = HEAD_BYTES
    head_seconds = HEAD_SECONDS
    most = most_connections()

    _awaits_head = True
    _head_size = 0
    _heads = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.write(_FULL)
            transport.close()
            return
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        awaited, heads = self._awaits_head, self._heads
        super().data_received(data)
        if self.transport.is_closing() or not awaited or self._heads != heads:
            return
        self._head_size += len(data)
        if self._head_size > self.head_bytes:
            self.send_400_response(f"The head of this request has more than {self.head_bytes} bytes.")
        elif self._deadline is None:
            self._arm()

    def on_headers_complete(self) -> None:
        self._heads += 1
        self._awaits_head = False
        self._head_size = 0
        self._disarm()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._awaits_head = True
        super().on_message_complete()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.head_seconds, self._too_late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._arm()  # an earlier request of this connection is still being answered
        elif not self.transport.is_closing():
            self.transport.close()
