"""A lean HTTP load generator: N keep-alive connections, each sending the same request again when its reply is complete.

Runs in a process of its own, so that it and the server share nothing but the machine. It parses just enough
of a reply to know its status and its end; it costs a small part of what a full client costs, for subject and peer alike.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from typing import cast
from urllib.parse import urlsplit

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Load:
    url: str
    method: str = "GET"
    key: str | None = None
    body: str | None = None
    connections: int = 16
    seconds: float = 3.0
    warm_up_seconds: float = 0.7

    def request(self) -> bytes:
        where = urlsplit(self.url)
        path = where.path + (f"?{where.query}" if where.query else "")
        lines = [f"{self.method} {path} HTTP/1.1", f"host: {where.netloc}", "accept: application/json"]
        if self.key:
            lines.append(f"authorization: Bearer {self.key}")
        body = (self.body or "").encode()
        if body:
            lines += ["content-type: application/json", f"content-length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(frozen=True)
class Answered:
    """What was answered in the counted time. `refused` counts replies that are not 2xx."""

    per_second: float
    count: int
    refused: int
    p50_ms: float
    p99_ms: float


class Connection(asyncio.Protocol):
    def __init__(self, request: bytes) -> None:
        self.request = request
        self.received = bytearray()
        self.missing = -1
        self.latencies: list[float] = []
        self.refused = 0
        self.broken = ""
        self.asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._ask()

    def data_received(self, data: bytes) -> None:
        self.received += data
        while True:
            if self.missing < 0 and not self._head():
                return
            if len(self.received) < self.missing:
                return
            del self.received[: self.missing]
            self.missing = -1
            self.latencies.append(time.perf_counter() - self.asked_at)
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self.broken = self.broken or str(exc or "the server closed the connection")

    def start_over(self) -> None:
        """Forget what was counted so far: the warm-up is over."""
        self.latencies.clear()
        self.refused = 0

    def _head(self) -> bool:
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return False
        length = LENGTH.search(self.received, 0, end + 2)
        if length is None:
            self.broken = "a reply without content-length"
            self.transport.close()
            return False
        self.refused += self.received[9:10] != b"2"
        self.missing = end + 4 + int(length[1])
        return True

    def _ask(self) -> None:
        self.asked_at = time.perf_counter()
        self.transport.write(self.request)


async def drive(load: Load) -> Answered:
    where = urlsplit(load.url)
    loop = asyncio.get_running_loop()
    request = load.request()
    connections = []
    for _ in range(load.connections):
        _, protocol = await loop.create_connection(
            lambda: Connection(request), where.hostname or "127.0.0.1", where.port or 80
        )
        connections.append(protocol)
    await asyncio.sleep(load.warm_up_seconds)
    for connection in connections:
        connection.start_over()
    began = time.perf_counter()
    await asyncio.sleep(load.seconds)
    lasted = time.perf_counter() - began
    latencies = sorted(latency for connection in connections for latency in connection.latencies)
    broken = next((connection.broken for connection in connections if connection.broken), "")
    for connection in connections:
        connection.transport.abort()
    if broken or not latencies:
        raise ConnectionError(broken or "no reply in the whole time")
    return Answered(
        per_second=len(latencies) / lasted,
        count=len(latencies),
        refused=sum(connection.refused for connection in connections),
        p50_ms=statistics.median(latencies) * 1000,
        p99_ms=latencies[min(int(len(latencies) * 0.99), len(latencies) - 1)] * 1000,
    )


async def in_own_process(load: Load) -> Answered:
    """Drive the load from another process. Raises RuntimeError when a reply was refused or a connection broke."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.load", json.dumps(asdict(load)), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the load on {load.url} failed with exit status {process.returncode}")
    answered = Answered(**json.loads(output))
    if answered.refused:
        raise RuntimeError(f"{answered.refused} of {answered.count} requests to {load.url} were refused")
    return answered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("load", help="the fields of a Load, as JSON")
    load = Load(**json.loads(parser.parse_args().load))
    try:
        import uvloop

        answered = uvloop.run(drive(load))
    except ImportError:
        answered = asyncio.run(drive(load))
    print(json.dumps(asdict(answered)))


if __name__ == "__main__":
    main()
