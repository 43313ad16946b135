"""The way to the programs of the instance that serve HTTP and WebSockets.

What speaks to them is loaded with the first request for one: most instances never see one, and all of them start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from gpuyard.resident.passing import Target

if TYPE_CHECKING:
    from gpuyard.resident.http_proxy import HttpProxy

_READING = ("GET", "HEAD", "OPTIONS")


class Proxy:
    """Passes requests on; `touch` is told what counts as somebody working."""

    def __init__(self, touch: Callable[[], None]) -> None:
        self._touch = touch
        self._http: HttpProxy | None = None

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def http(self, scope: Scope, receive: Receive, send: Send, target: Target, what: str) -> None:
        """Pass on one request. Raises the 502 if the program does not answer; when the caller leaves, so do we."""
        if scope["method"] not in _READING:
            self._touch()  # an open page asks all the time; that is not somebody working
        if self._http is None:
            from gpuyard.resident.http_proxy import HttpProxy

            self._http = HttpProxy()
        await self._http.pass_on(scope, receive, send, target, what)

    async def websocket(self, websocket: WebSocket, target: Target, what: str) -> None:
        """Pass on one WebSocket; accepted only when the program has accepted it, with the subprotocol it chose."""
        from gpuyard.resident import websocket_proxy

        await websocket_proxy.pass_on(websocket, target, what, self._touch)
