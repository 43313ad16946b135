"""How long the plan for a whole line takes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from bench.measurement import Aim, Better, Contender, Measurement
from gpuyard.domain.ids import InstanceId
from gpuyard.domain.instances import GpuRequest, InstanceSpec
from gpuyard.domain.offers import Offer
from gpuyard.domain.placing import Waiting, place

TYPES = [f"gpu-{n}" for n in range(10)]
REGIONS = ["east", "north", "south", "west"]


def _offer(gpu: str, region: str) -> Offer:
    return Offer("fake", region, gpu, gpu, 24, 1_000_000, 64, 64, datetime(2026, 1, 1, tzinfo=UTC))


@asynccontextmanager
async def _plan() -> AsyncIterator[Mapping[str, Contender]]:
    offers = [_offer(gpu, region) for gpu in TYPES for region in REGIONS]
    line = [Waiting(InstanceId(f"i-{n}"), InstanceSpec((GpuRequest(TYPES[n % 10], n % 3 + 1),))) for n in range(10_000)]

    async def planned() -> float:
        began = time.perf_counter()
        place(line, offers, {})
        return time.perf_counter() - began

    yield {"gpuyard": planned}


MEASUREMENTS = [
    Measurement(
        "10,000 waiting planned",
        "s",
        Better.LESS,
        _plan,
        Aim(1.0),
        note="One pass of `place` over 10,000 waiting instances and 40 pools.",
    )
]
