"""The few requests a provider makes of a resident, straight over its socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gpuyard.resident.wire import SECRET_HEADER


async def ask(
    socket: Path, method: str, path: str, *, secret: str = "", body: bytes = b"", seconds: float = 2.0
) -> int | None:
    """The status of the reply; None when nobody answers in time."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(_request(method, path, secret, body))
                await writer.drain()
                return _status(await reader.readline())
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return None


def _request(method: str, path: str, secret: str, body: bytes) -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: resident", "Connection: close"]
    if secret:
        head.append(f"{SECRET_HEADER}: {secret}")
    if body:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


def _status(line: bytes) -> int | None:
    words = line.split()
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") else None
