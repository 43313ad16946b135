"""A customer in a hurry: asks for everything at once and writes down only what was acknowledged."""

from __future__ import annotations

import asyncio
import random
import secrets
from dataclasses import dataclass, field

import httpx

from tests.yards import RunningYard

GPU = "nvidia-rtx-3090"
CUSTOMERS = 6


@dataclass
class Ledger:
    """What a yard said yes to, across all its lives."""

    instances: dict[str, str] = field(default_factory=dict)
    """Idempotency key → instance id."""
    executions: dict[str, str] = field(default_factory=dict)
    """Execution id → instance id."""
    deletions: dict[str, None] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    """Every create that was sent, answered or not: it may be sent again."""


async def load(yard: RunningYard, ledger: Ledger, rng: random.Random) -> None:
    """Until cancelled; a yard that is gone only makes it wait."""
    async with httpx.AsyncClient(
        base_url=f"{yard.url}/yard/v1", headers={"Authorization": f"Bearer {yard.key}"}, timeout=5
    ) as http:
        await asyncio.gather(*(_customer(http, ledger, random.Random(rng.random())) for _ in range(CUSTOMERS)))


async def _customer(http: httpx.AsyncClient, ledger: Ledger, rng: random.Random) -> None:
    while True:
        try:
            await rng.choice((_create, _create, _create_again, _execute, _execute, _stop, _start, _delete))(
                http, ledger, rng
            )
        except httpx.TransportError:
            await asyncio.sleep(0.05)
        await asyncio.sleep(rng.random() * 0.02)


async def _create(http: httpx.AsyncClient, ledger: Ledger, rng: random.Random) -> None:
    body: dict[str, object] = {"gpus": [{"type": GPU, "count": rng.choice((1, 1, 2))}], "wait": rng.random() < 0.3}
    asked = (secrets.token_hex(8), body)
    ledger.asked.append(asked)
    await _send_create(http, ledger, *asked)


async def _create_again(http: httpx.AsyncClient, ledger: Ledger, rng: random.Random) -> None:
    """The reply may have been lost: the same request under the same key is the same instance."""
    if ledger.asked:
        await _send_create(http, ledger, *rng.choice(ledger.asked[-10:]))


async def _send_create(http: httpx.AsyncClient, ledger: Ledger, key: str, body: dict[str, object]) -> None:
    reply = await http.post("/instances", json=body, headers={"Idempotency-Key": key})
    if reply.status_code in (200, 201):
        made = reply.json()["id"]
        assert ledger.instances.setdefault(key, made) == made, "one key made two instances"
    else:
        assert reply.json()["error"]["code"] == "no_capacity", reply.text


async def _execute(http: httpx.AsyncClient, ledger: Ledger, rng: random.Random) -> None:
    instance = _some(ledger, rng)
    command = f"for i in $(seq 200); do echo line $i; done; sleep {rng.random() * 0.5:.2f}; echo $CUDA_VISIBLE_DEVICES"
    reply = await http.post(f"/instances/{instance}/executions", json={"kind": "shell", "command": command})
    if reply.status_code == 201:
        ledger.executions[reply.json()["id"]] = instance


async def _stop(http: httpx.AsyncClient, ledger: Ledger, rng: random.Random) -> None:
    await http.post(f"/instances/{_some(ledger, rng)}/stop")


async def _start(http: httpx.AsyncClient, ledger: Ledger, rng: random.Random) -> None:
    await http.post(f"/instances/{_some(ledger, rng)}/start", json={"wait": rng.random() < 0.5})


async def _delete(http: httpx.AsyncClient, ledger: Ledger, rng: random.Random) -> None:
    instance = _some(ledger, rng)
    if rng.random() < 0.5 and (await http.delete(f"/instances/{instance}")).status_code < 300:
        ledger.deletions[instance] = None


def _some(ledger: Ledger, rng: random.Random) -> str:
    live = [made for made in ledger.instances.values() if made not in ledger.deletions]
    return rng.choice(live[-8:]) if live else "none"
