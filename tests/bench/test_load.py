"""The load generator counts what was answered, and how."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench.load import Load, drive, in_own_process


@asynccontextmanager
async def a_server(*replies: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answers each request on a connection with the next of `replies`, round and round; keeps what was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0] or 0)
                asked.append(head + await reader.readexactly(length))
                for piece in (replies[number % len(replies)][:20], replies[number % len(replies)][20:]):
                    writer.write(piece)
                    await writer.drain()
                number += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


def reply(status: int, body: bytes = b"{}") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def short(url: str, **fields: object) -> Load:
    return Load(url, connections=2, seconds=0.2, warm_up_seconds=0.05, **fields)  # type: ignore[arg-type]


async def test_replies_that_come_in_pieces_are_counted_whole() -> None:
    async with a_server(reply(200, b"x" * 100)) as (url, _):
        answered = await drive(short(url + "/thing"))

    assert answered.count > 10
    assert answered.refused == 0


async def test_a_refusal_is_counted_as_one() -> None:
    async with a_server(reply(200), reply(503)) as (url, _):
        answered = await drive(short(url + "/"))

    assert abs(answered.refused - answered.count / 2) <= 2


async def test_the_request_is_what_was_asked_for() -> None:
    async with a_server(reply(201)) as (url, asked):
        await drive(short(url + "/a/b?c=d", method="POST", key="sk", body='{"x": 1}'))

    assert asked[0].startswith(b"POST /a/b?c=d HTTP/1.1\r\n")
    assert b"authorization: Bearer sk\r\n" in asked[0]
    assert asked[0].endswith(b'\r\n\r\n{"x": 1}')


async def test_a_load_that_was_refused_gives_no_figure() -> None:
    async with a_server(reply(401)) as (url, _):
        with pytest.raises(RuntimeError, match="were refused"):
            await in_own_process(short(url + "/"))
