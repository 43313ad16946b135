"""Servers under measurement: started on a free port in an empty directory, awaited, looked at, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

START_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Server:
    url: str
    pid: int
    key: str = ""
    directory: Path = Path()
    started_in_seconds: float = 0.0
    """From the spawn of the process to its first good answer to /healthz."""

    def client(self) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60)


@asynccontextmanager
async def a_yard(
    *,
    providers: Mapping[str, Mapping[str, object]] | None = None,
    settings: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> AsyncIterator[Server]:
    """A gpuyard server with its data in `directory`, or in an empty one. It has nothing of this machine's own settings."""
    with tempfile.TemporaryDirectory(prefix="gpuyard-bench-") as scratch:
        home = directory or Path(scratch)
        key = _owner_key(home)
        environment = {
            "GPUYARD_HOME": str(home),
            "GPUYARD_OWNER_KEY": key,
            "GPUYARD_RATE_LIMIT__PER_SECOND": "0",
            "GPUYARD_LOG_LEVEL": "warning",
            **({"GPUYARD_PROVIDERS": json.dumps(providers)} if providers else {}),
            **(settings or {}),
        }
        port = free_port()
        argv = [sys.executable, "-m", "gpuyard.server", "--host", "127.0.0.1", "--port", str(port)]
        async with _running(argv, port, environment, home) as (pid, seconds):
            yield Server(f"http://127.0.0.1:{port}", pid, key, home, seconds)


def _owner_key(home: Path) -> str:
    """The key of the owner that the first start in `home` made, or will make."""
    kept = home / "bench-owner-key"
    if not kept.exists():
        kept.write_text(f"sk_compute_{secrets.token_urlsafe(32)}")
    return kept.read_text()


@asynccontextmanager
async def a_bare_server() -> AsyncIterator[Server]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="gpuyard-bench-") as scratch:
        async with _running([sys.executable, "-m", "bench.bare", str(port)], port, {}, Path(scratch)) as (pid, seconds):
            yield Server(f"http://127.0.0.1:{port}", pid, started_in_seconds=seconds)


@asynccontextmanager
async def _running(
    argv: Sequence[str], port: int, environment: Mapping[str, str], directory: Path
) -> AsyncIterator[tuple[int, float]]:
    log = directory / "bench.log"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
    loop = asyncio.get_running_loop()
    with log.open("ab") as output:
        began = loop.time()
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, env={**clean, **environment}
        )
    try:
        while not await answers(port):
            if process.returncode is not None or loop.time() - began > START_PATIENCE_SECONDS:
                raise RuntimeError(f"{' '.join(argv)} did not start:\n{log.read_text()[-2000:]}")
            await asyncio.sleep(0.004)
        yield process.pid, loop.time() - began
    finally:
        await end(process)


async def answers(port: int, path: str = "/healthz") -> bool:
    """Whether somebody answers 200 there now; asked without a client's own start-up cost."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
        status = await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()
    return b" 200" in status


async def end(process: asyncio.subprocess.Process) -> None:
    """End it and whatever it left behind."""
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), 20)
    finally:
        for relative in family:
            if relative.is_running():
                relative.kill()


def pss_mb(pid: int) -> float:
    """What a process occupies, its share of what it shares with others included."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no Pss of process {pid}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def quiet(pid: int, *, patience_seconds: float = 20.0) -> None:
    """Wait until a server and its children have next to nothing to do."""
    deadline = time.monotonic() + patience_seconds
    before = cpu_seconds(pid)
    while time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        now = cpu_seconds(pid)
        if now - before < 0.05:
            return
        before = now
    raise RuntimeError(f"process {pid} is still busy after {patience_seconds:.0f} s")


def cpu_seconds(pid: int) -> float:
    """What it and the children it has now have used."""
    total = 0.0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total
