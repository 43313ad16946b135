"""Whoever may connect, with no key at all, can neither fill the memory nor keep what they do not use."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn

from gpuyard.server.connections import BoundedHttp

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


class Impatient(BoundedHttp):
    head_seconds = 0.5
    most = 2


async def _hello(scope: object, receive: object, send: uvicorn._types.ASGISendCallable) -> None:
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")], "trailers": False}
    )
    await send({"type": "http.response.body", "body": b"hello", "more_body": False})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    config = uvicorn.Config(_hello, port=0, http=Impatient, lifespan="off", log_config=None, timeout_keep_alive=60)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.005)
    yield int(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    await serving


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionResetError):
            return await reader.read()
        return b""


@pytest.mark.parametrize(
    "piece", [b"X-More: " + b"a" * 1000 + b"\r\n", b"a" * 1000], ids=["many headers", "one that never ends"]
)
async def test_a_head_without_an_end_is_refused_before_it_fills_the_memory(port: int, piece: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET + b"X-Long: ")

    with contextlib.suppress(ConnectionError):
        for _ in range(1000):
            writer.write(piece)
            await writer.drain()

    said = await _until_closed(reader)
    assert said == b"" or said.startswith(b"HTTP/1.1 400 ")
    writer.close()


@pytest.mark.parametrize("begun", [b"", GET, b"\r\n"])
async def test_who_does_not_finish_a_request_is_hung_up_on(port: int, begun: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    writer.write(begun)

    assert await _until_closed(reader) == b""
    writer.close()


async def test_a_connection_that_was_used_may_rest(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET + b"\r\n")
    await reader.readuntil(b"hello")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(Impatient.head_seconds * 3):
            await reader.read()

    writer.write(GET + b"\r\n")
    assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_one_connection_too_many_is_told_to_come_back(port: int) -> None:
    kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(Impatient.most)]
    for reader, writer in kept:
        writer.write(GET + b"\r\n")
        await reader.readuntil(b"hello")

    reader, _ = await asyncio.open_connection("127.0.0.1", port)

    assert (await _until_closed(reader)).startswith(b"HTTP/1.1 503 ")
    for _, writer in kept:
        writer.close()
