"""Whole directories over HTTP, as tar streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import anyio.from_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from gpuyard.resident.core import Resident
from gpuyard.resident.errors import Refusal
from gpuyard.resident.files import flag, path_in, swallow
from gpuyard.resident.paths import Places
from gpuyard.resident.tarring import gathered, gzipped, tar_of
from gpuyard.resident.untarring import unpack
from gpuyard.resident.uploads import disk


def routes(resident: Resident) -> list[BaseRoute]:
    places = Places.of(resident.instance.residence)

    async def download(request: Request) -> Response:
        spot = await run_in_threadpool(places.locate, path_in(request, "/archive/"))
        with disk(spot.shown):
            pieces = await run_in_threadpool(tar_of, spot, request.query_params.getlist("exclude"))
        gzip = flag(request, "gzip")
        packed = gathered(gzipped(pieces) if gzip else pieces)
        media_type = "application/gzip" if gzip else "application/x-tar"
        return StreamingResponse(_in_thread(packed, resident.instance.touch), media_type=media_type)

    async def upload(request: Request) -> Response:
        body = request.stream()
        try:
            spot = await run_in_threadpool(places.locate, path_in(request, "/archive/"))
            with disk(spot.shown):
                done = await run_in_threadpool(unpack, _Incoming(body, resident.instance.touch), spot)
        except Refusal:
            await swallow(request, body)
            raise
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        return JSONResponse({"files": done.files, "bytes": done.bytes})

    return [
        route
        for path in ("/archive", "/archive/{path:path}")
        for route in (Route(path, download, methods=["GET"]), Route(path, upload, methods=["PUT"]))
    ]


async def _in_thread(pieces: Iterator[bytes], touch: Callable[[], None]) -> AsyncIterator[bytes]:
    while (piece := await run_in_threadpool(next, pieces, None)) is not None:
        touch()
        yield piece


class _Incoming:
    """A request's body as a file for a thread: each read waits until the sender has sent, so nothing piles up."""

    def __init__(self, body: AsyncIterator[bytes], touch: Callable[[], None]) -> None:
        self._body = body
        self._touch = touch
        self._rest = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """`size` bytes, fewer only at the end."""
        pieces: list[memoryview] = []
        while size and (self._rest or self._more()):
            piece, self._rest = self._rest[:size], self._rest[size:]
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _more(self) -> bool:
        self._touch()
        chunk = anyio.from_thread.run(_next, self._body)
        self._rest = memoryview(chunk or b"")
        return chunk is not None


async def _next(body: AsyncIterator[bytes]) -> bytes | None:
    """The next piece that has something in it; None at the end."""
    async for chunk in body:
        if chunk:
            return chunk
    return None
