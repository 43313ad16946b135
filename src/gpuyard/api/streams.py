"""Answers that flow: server-sent events, raw journals, files. They end when the client goes or the server does; what has no
end of its own also ends with the key it was asked for with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gpuyard.api.lapsing import lapsed

BEAT_SECONDS = 15.0
"""How long a quiet event stream waits before it says it is still there; proxies drop what is silent for a minute."""


class OpenStreams:
    """The streams with no end of their own, so that a server that stops can end them in order."""

    def __init__(self) -> None:
        self.ending = asyncio.Event()

    def end(self) -> None:
        self.ending.set()


class Stream(Response):
    """Sends chunks as they come, holding one at a time. Cancels the source when the client has gone."""

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        *,
        status: int = 200,
        headers: Iterable[tuple[bytes, bytes]] = (),
        until: OpenStreams | None = None,
        closing: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`closing` is called once, also when nothing of `chunks` was ever asked for."""
        self.status_code = status
        self.background = None
        self.raw_headers = list(headers)
        self._chunks = chunks
        self._until = until
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._send_all(scope, receive, send)
        finally:
            if isinstance(self._chunks, AsyncGenerator):
                await self._chunks.aclose()
            if self._closing is not None:
                await self._closing()

    async def _send_all(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        pump = asyncio.create_task(self._pump(send))
        watches: list[asyncio.Task[Any]] = [asyncio.create_task(_gone(receive))]
        if self._until is not None:
            watches.append(asyncio.create_task(self._until.ending.wait()))
            if (lapsing := lapsed(scope)) is not None:
                watches.append(lapsing)
        try:
            await asyncio.wait({pump, *watches}, return_when=asyncio.FIRST_COMPLETED)
            ended_by_us = not pump.done() and not watches[0].done()
        finally:
            for task in (pump, *watches):
                task.cancel()
            results = await asyncio.gather(pump, *watches, return_exceptions=True)
        if ended_by_us:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif isinstance(results[0], Exception):
            raise results[0]

    async def _pump(self, send: Send) -> None:
        async for chunk in self._chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def events_stream(events: AsyncIterator[bytes], until: OpenStreams) -> Stream:
    """`events` are whole server-sent events."""
    return Stream(
        _with_beat(events),
        headers=[
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ],
        until=until,
    )


def event(data: bytes, *, id: int) -> bytes:
    """`data` must be one line, as JSON is."""
    return b"id: %d\ndata: %b\n\n" % (id, data)


async def _with_beat(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same, with a comment whenever nothing came for a while; the first at once, so that headers arrive."""
    yield b": here\n\n"
    waiting = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=BEAT_SECONDS)
            if not done:
                yield b": still here\n\n"
                continue
            found = waiting.result()
            if found is None:
                return
            yield found
            waiting = asyncio.ensure_future(anext(events, None))
    finally:
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await waiting
        if isinstance(events, AsyncGenerator):
            await events.aclose()


def raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
