"""How long until a server answers, and what an idle one occupies."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bench.measurement import Aim, Better, Contender, Measurement
from bench.processes import a_bare_server, a_yard, pss_mb

NO_POOL = {"GPUYARD_WARM": "0"}


async def _up() -> float:
    async with a_yard(settings=NO_POOL) as server:
        return server.started_in_seconds


async def _bare_up() -> float:
    async with a_bare_server() as server:
        return server.started_in_seconds


@asynccontextmanager
async def _start() -> AsyncIterator[Mapping[str, Contender]]:
    with tempfile.TemporaryDirectory(prefix="gpuyard-bench-") as scratch:

        async def again() -> float:
            async with a_yard(settings=NO_POOL, directory=Path(scratch)) as server:
                return server.started_in_seconds

        await again()
        yield {"gpuyard, first time": _up, "gpuyard, again": again, "bare FastAPI": _bare_up}


async def _idle() -> float:
    async with a_yard(settings=NO_POOL) as server, server.client() as client:
        for path in ("/yard/v1/me", "/yard/v1/offers", "/yard/v1/instances"):
            (await client.get(path)).raise_for_status()
        await asyncio.sleep(2)  # past what start-up leaves to do
        return pss_mb(server.pid)


async def _bare_idle() -> float:
    async with a_bare_server() as server, server.client() as client:
        (await client.get("/yard/v1/me")).raise_for_status()
        await asyncio.sleep(2)
        return pss_mb(server.pid)


@asynccontextmanager
async def _memory() -> AsyncIterator[Mapping[str, Contender]]:
    yield {"gpuyard": _idle, "bare FastAPI": _bare_idle}


MEASUREMENTS = [
    Measurement(
        "server up",
        "s",
        Better.LESS,
        _start,
        Aim(1.5),
        note="From the spawn of the process, to 200 on /healthz; the first time in an empty data directory, where tables, owner and key are made.",
    ),
    Measurement(
        "idle memory",
        "MB",
        Better.LESS,
        _memory,
        Aim(120),
        rounds=3,
        note="Proportional set size of the server process after a few requests; no warm pool.",
    ),
]
