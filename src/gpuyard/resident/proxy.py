"""HTTP and WebSocket passed on to a program of the instance, streamed both ways, nothing rewritten.

Under HTTP lies httpcore, the layer below httpx: the target of a request goes out byte for byte as it came in, where httpx
would read and write the address anew, and it costs half the time per request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import httpcore
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from gpuyard.resident.errors import Refusal
from gpuyard.resident.wire import SECRET_HEADER

_HOP_BY_HOP = {
    *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"),
    *(b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect"),
}
_NOT_PASSED_ON = _HOP_BY_HOP | {SECRET_HEADER.lower().encode()}
_CONNECT_SECONDS = 5.0
_READING = ("GET", "HEAD", "OPTIONS")
_CLOSE_SECONDS = 2.0
_KEPT_OPEN = 16
NO_STATUS = 1005
_SENDABLE = {*range(1000, 1004), *range(1007, 1015)}

log = logging.getLogger("gpuyard.resident")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a program listens: a Unix socket or a port of 127.0.0.1."""

    socket: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else f"http://127.0.0.1:{self.port}"


def not_ready(what: str, why: str) -> Refusal:
    return Refusal(502, "not_ready", f"{what} does not answer: {why}", hint="ask again when it is ready")


def target_path(scope: Scope) -> bytes:
    """All behind `/proxy/`, as it was sent: for the program that is the whole path."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    path = b"/" + raw.partition(b"/proxy/")[2]
    return path + b"?" + scope["query_string"] if scope.get("query_string") else path


def passed_on(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers without those that speak of one connection only, and without the resident's secret."""
    headers = [(name.lower(), value) for name, value in headers]
    named = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
    return [(name, value) for name, value in headers if name not in _NOT_PASSED_ON | named]


def forwarded(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The public name of the program in `Host` and `X-Forwarded-Host`, whichever the server gave."""
    given = dict(headers)
    public = given.get(b"x-forwarded-host") or given.get(b"host") or b"localhost"
    rest = [(name, value) for name, value in headers if name not in (b"host", b"x-forwarded-host")]
    return [(b"host", public), (b"x-forwarded-host", public), *rest]


class Proxy:
    """Passes requests on. Keeps connections to programs open between requests."""

    def __init__(self, touch: Callable[[], None]) -> None:
        self._touch = touch
        self._pools: dict[Target, httpcore.AsyncConnectionPool] = {}

    async def close(self) -> None:
        for pool in self._pools.values():
            with contextlib.suppress(Exception):
                await pool.aclose()
        self._pools.clear()

    async def http(self, scope: Scope, receive: Receive, send: Send, target: Target, what: str) -> None:
        """Pass on one request. Raises the 502 if the program does not answer; when the caller leaves, so do we."""
        if scope["method"] not in _READING:
            self._touch()  # an open page asks all the time; that is not somebody working
        has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
        body = _Body(receive, has_body)
        answering = asyncio.create_task(self._answer(scope, body if has_body else None, send, target, what))
        leaving = asyncio.create_task(body.caller_left())
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        finally:
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _answer(self, scope: Scope, body: _Body | None, send: Send, target: Target, what: str) -> None:
        headers = forwarded(passed_on(scope["headers"]))
        if body is not None and not any(name == b"content-length" for name, _ in headers):
            headers.append((b"transfer-encoding", b"chunked"))
        request = httpcore.Request(
            scope["method"],
            httpcore.URL(scheme=b"http", host=b"127.0.0.1", port=target.port or 80, target=target_path(scope)),
            headers=headers,
            content=body.pieces() if body is not None else None,
            extensions={"timeout": {"connect": _CONNECT_SECONDS}},
        )
        try:
            response = await self._pool(target).handle_async_request(request)
        except ClientDisconnect:
            return
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise not_ready(what, str(error) or type(error).__name__) from error
        if not 200 <= response.status < 600:
            await response.aclose()
            raise not_ready(what, f"it answered with the status {response.status}, which means nothing")
        try:
            kept = [
                (name, value) for name, value in passed_on(response.headers) if name != b"date"
            ]  # uvicorn's own goes
            await send({"type": "http.response.start", "status": response.status, "headers": kept})
            async for piece in cast(AsyncIterator[bytes], response.stream):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await response.aclose()

    def _pool(self, target: Target) -> httpcore.AsyncConnectionPool:
        if target not in self._pools:
            self._pools[target] = httpcore.AsyncConnectionPool(
                max_connections=None, max_keepalive_connections=_KEPT_OPEN, keepalive_expiry=30.0, uds=target.socket
            )
        return self._pools[target]

    async def websocket(self, websocket: WebSocket, target: Target, what: str) -> None:
        """Pass on one WebSocket; accepted only when the program has accepted it, with the subprotocol it chose."""
        try:
            upstream = await self._dial(websocket, target)
        except InvalidStatus as refused:
            response = refused.response
            raise Refusal(response.status_code, "refused", f"{what} refuses this WebSocket") from refused
        except (OSError, WebSocketException, TimeoutError) as error:
            raise not_ready(what, str(error) or type(error).__name__) from error
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(upstream.close)
            await websocket.accept(subprotocol=upstream.subprotocol)
            await _pump(websocket, upstream, self._touch)

    async def _dial(self, websocket: WebSocket, target: Target) -> ClientConnection:
        kept = [
            (name, value)
            for name, value in forwarded(passed_on(websocket.scope["headers"]))
            if not name.startswith(b"sec-websocket-") and name != b"host"  # that is taken from the address
        ]
        options: dict[str, Any] = {
            "additional_headers": [(name.decode("latin-1"), value.decode("latin-1")) for name, value in kept],
            "subprotocols": [Subprotocol(name) for name in websocket.scope.get("subprotocols", ())] or None,
            "compression": None,  # both ends are on this machine
            "user_agent_header": None,
            "max_size": None,
            "max_queue": 4,
            "ping_interval": None,  # the far ends ask each other
            "open_timeout": _CONNECT_SECONDS,
            "close_timeout": _CLOSE_SECONDS,
            "proxy": None,
        }
        public = dict(kept)[b"x-forwarded-host"].decode("latin-1")
        address = f"ws://{public}{target_path(websocket.scope).decode('latin-1')}"
        if target.socket:
            return await unix_connect(target.socket, uri=address, **options)
        return await connect(address, host="127.0.0.1", port=target.port, **options)


class _Body:
    """A request's body as it comes in, and the news that its sender has left."""

    def __init__(self, receive: Receive, has_any: bool) -> None:
        self._receive = receive
        self._read = asyncio.Event()
        if not has_any:
            self._read.set()

    async def pieces(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            more = message.get("more_body", False)
            if message.get("body"):
                yield message["body"]
        self._read.set()

    async def caller_left(self) -> None:
        """Returns when nobody waits for the answer any more."""
        await self._read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def _pump(websocket: WebSocket, upstream: ClientConnection, touch: Callable[[], None]) -> None:
    """Pass messages both ways until one side closes; the other is closed with the same code."""
    ways = (asyncio.create_task(_down(websocket, upstream)), asyncio.create_task(_up(websocket, upstream, touch)))
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        for outcome in await asyncio.gather(*ways, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, (ConnectionClosed, WebSocketDisconnect)):
                log.warning("a WebSocket broke", exc_info=outcome)


async def _down(websocket: WebSocket, upstream: ClientConnection) -> None:
    try:
        while True:
            message = await upstream.recv()
            await (websocket.send_text(message) if isinstance(message, str) else websocket.send_bytes(message))
    except ConnectionClosed:
        await websocket.close(sendable(upstream.close_code), upstream.close_reason)


async def _up(websocket: WebSocket, upstream: ClientConnection, touch: Callable[[], None]) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            await upstream.close(sendable(message.get("code")), message.get("reason") or "")
            return
        touch()
        text = message.get("text")
        await upstream.send(text if text is not None else message["bytes"])


def sendable(code: int | None) -> int:
    """A close code that may be sent for one that was received or that stands for none."""
    if code is None or code == NO_STATUS:
        return 1000
    return code if code in _SENDABLE or 3000 <= code < 5000 else 1011
