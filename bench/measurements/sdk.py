"""What the SDK adds to a call over the HTTP client it stands on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import httpx

from bench.measurement import Aim, Better, Contender, Measurement
from bench.measurements.requests import FAKE
from bench.processes import a_yard
from gpuyard import Client

CALLS = 100


def each_takes(call: Callable[[], object]) -> Contender:
    def timed() -> float:
        began = time.perf_counter()
        for _ in range(CALLS):
            call()
        return (time.perf_counter() - began) / CALLS * 1e6

    async def measured() -> float:
        return await asyncio.to_thread(timed)

    return measured


@asynccontextmanager
async def _calls() -> AsyncIterator[Mapping[str, Contender]]:
    async with a_yard(providers=FAKE) as yard:
        with (
            Client(url=yard.url, api_key=yard.key) as sdk,
            httpx.Client(base_url=yard.url, headers={"authorization": f"Bearer {yard.key}"}) as bare,
        ):
            contenders = {
                "gpuyard SDK": each_takes(sdk.me),
                "bare httpx": each_takes(lambda: bare.get("/yard/v1/me").raise_for_status().json()),
            }
            for contender in contenders.values():
                await contender()
            yield contenders


MEASUREMENTS = [
    Measurement(
        "SDK call",
        "µs",
        Better.LESS,
        _calls,
        Aim(1.1, beside="bare httpx"),
        rounds=21,
        note=f"`client.me()` beside `httpx.get(…).json()`, {CALLS} calls one after the other on one connection.",
    )
]
