"""How long an import takes in a fresh interpreter."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.measurement import Aim, Better, Contender, Measurement


def importing(statement: str) -> Contender:
    program = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"

    async def measured() -> float:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        return float(output) * 1000

    return measured


@asynccontextmanager
async def _imports() -> AsyncIterator[Mapping[str, Contender]]:
    contenders = {
        "import gpuyard": importing("import gpuyard"),
        "from gpuyard import Client": importing("from gpuyard import Client"),
        "import httpx": importing("import httpx"),
    }
    for contender in contenders.values():
        await contender()  # byte code and disk cache are there
    yield contenders


MEASUREMENTS = [
    Measurement(
        "import", "ms", Better.LESS, _imports, Aim(150), rounds=9, note="In a fresh interpreter, byte code compiled."
    )
]
