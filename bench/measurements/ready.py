"""From an order to an instance that answers, beside JupyterHub's local spawner."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

import httpx

from bench.hub import a_hub
from bench.measurement import Aim, Better, Contender, Measurement
from bench.processes import Server, a_yard, quiet

ORDER = {"gpus": [{"type": "nvidia-rtx-3090", "count": 1}]}
INSTANCES = "/yard/v1/instances"


def ready(yard: Server, client: httpx.AsyncClient) -> Contender:
    """Seconds from the order to `running`: its resident answers. The instance is gone again before the next one."""

    async def measured() -> float:
        await quiet(yard.pid)  # the warm pool is full, the last instance is swept
        began = time.perf_counter()
        made = (await client.post(INSTANCES, json=ORDER)).raise_for_status().json()
        await _until(client, made["id"], "running")
        seconds = time.perf_counter() - began
        (await client.delete(f"{INSTANCES}/{made['id']}")).raise_for_status()
        await _until(client, made["id"], "deleted")
        return seconds

    return measured


async def _until(client: httpx.AsyncClient, instance_id: str, state: str) -> None:
    while True:
        now = (await client.get(f"{INSTANCES}/{instance_id}")).raise_for_status().json()
        if now["state"] == state:
            return
        if now["state"] == "failed":
            raise RuntimeError(f"the instance failed: {now['state_reason']}")
        await asyncio.sleep(0.01)


@asynccontextmanager
async def _contenders(warm: int) -> AsyncIterator[Mapping[str, Contender]]:
    settings = {"GPUYARD_SIMULATE": "nvidia-rtx-3090=2", "GPUYARD_WARM": str(warm)}
    async with AsyncExitStack() as stack:
        yard = await stack.enter_async_context(a_yard(settings=settings))
        client = await stack.enter_async_context(yard.client())
        contenders = {"gpuyard": ready(yard, client)}
        try:
            contenders["JupyterHub"] = (await stack.enter_async_context(a_hub())).server_ready
        except (OSError, RuntimeError) as error:  # it needs npm and the network; the yard's own figure does not
            print(f"without JupyterHub: {error}", file=sys.stderr)
        yield contenders


def _with_pool_of(size: int) -> Callable[[], AbstractAsyncContextManager[Mapping[str, Contender]]]:
    return partial(_contenders, size)


MEASUREMENTS = [
    Measurement(
        "local instance ready, warm",
        "s",
        Better.LESS,
        _with_pool_of(1),
        Aim(0.3),
        note="From the order to `running` (its resident answers, sandboxed), with one resident kept started; JupyterHub: from asking for "
        "a new user's server to `ready`, its local process spawner, no sandbox. A yard's instance starts a kernel or JupyterLab "
        "when it is first used; JupyterHub's server is JupyterLab.",
    ),
    Measurement(
        "local instance ready, cold", "s", Better.LESS, _with_pool_of(0), Aim(1.5), note="The same without a pool."
    ),
]
