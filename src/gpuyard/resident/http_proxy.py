"""HTTP passed on to a program of the instance, streamed both ways, nothing rewritten.

Under it lies httpcore, the layer below httpx: the target of a request goes out byte for byte as it came in, where httpx
would read and write the address anew, and it costs half the time per request.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

import httpcore
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from gpuyard.resident.passing import CONNECT_SECONDS, Target, forwarded, not_ready, passed_on, target_path

_KEPT_OPEN = 16


class HttpProxy:
    """Passes requests on. Keeps connections to programs open between requests."""

    def __init__(self) -> None:
        self._pools: dict[Target, httpcore.AsyncConnectionPool] = {}

    async def close(self) -> None:
        for pool in self._pools.values():
            with contextlib.suppress(Exception):
                await pool.aclose()
        self._pools.clear()

    async def pass_on(self, scope: Scope, receive: Receive, send: Send, target: Target, what: str) -> None:
        """Pass on one request. Raises the 502 if the program does not answer; when the caller leaves, so do we."""
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
            extensions={"timeout": {"connect": CONNECT_SECONDS}},
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
