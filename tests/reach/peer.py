"""A peer on a Unix socket that can be told to misbehave as real machines do: fall silent, hang up, tear a line."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

Behaviour = Callable[["Peer", str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Peer:
    """Calls `behaves` once for each request with its head; counts the connections that are open."""

    behaves: Behaviour
    socket: str = ""
    open: int = 0
    heads: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                await self.behaves(self, head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.open -= 1


@asynccontextmanager
async def a_peer(behaves: Behaviour) -> AsyncIterator[Peer]:
    peer = Peer(behaves)
    with tempfile.TemporaryDirectory(prefix="gy") as directory:
        peer.socket = str(Path(directory) / "s")
        server = await asyncio.start_unix_server(peer.serve, peer.socket)
        try:
            yield peer
        finally:
            server.close()


async def answer(writer: asyncio.StreamWriter, body: bytes, status: str = "200 OK") -> None:
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()


async def begin_chunks(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await writer.drain()


async def chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    """The empty chunk is the end."""
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    await writer.drain()
