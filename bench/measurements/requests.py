"""Requests per second: reads with a key, and instances accepted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.load import Load, in_own_process
from bench.measurement import Aim, Better, Contender, Measurement
from bench.processes import Server, a_bare_server, a_yard

FAKE: Mapping[str, Mapping[str, object]] = {"fake": {"gpus": {"nvidia-rtx-3090": 4}}}
ORDER = {"gpus": [{"type": "nvidia-rtx-3090", "count": 1}], "wait": True}


def rate(server: Server, path: str, *, method: str = "GET", body: object = None, connections: int = 16) -> Contender:
    text = None if body is None else json.dumps(body)

    async def measured() -> float:
        load = Load(f"{server.url}{path}", method, server.key or None, text, connections)
        return (await in_own_process(load)).per_second

    return measured


@asynccontextmanager
async def _reads() -> AsyncIterator[Mapping[str, Contender]]:
    async with a_yard(providers=FAKE) as yard, a_bare_server() as bare, yard.client() as client:
        made = (await client.post("/yard/v1/instances", json=ORDER)).raise_for_status().json()
        yield {
            "gpuyard me": rate(yard, "/yard/v1/me"),
            "gpuyard instance": rate(yard, f"/yard/v1/instances/{made['id']}"),
            "bare FastAPI": rate(bare, "/yard/v1/me"),
        }


@asynccontextmanager
async def _creates() -> AsyncIterator[Mapping[str, Contender]]:
    async with a_yard(providers=FAKE) as yard, a_bare_server() as bare:
        yield {
            "gpuyard": rate(yard, "/yard/v1/instances", method="POST", body=ORDER, connections=64),
            "bare FastAPI": rate(bare, "/yard/v1/instances", method="POST", body=ORDER, connections=64),
        }


MEASUREMENTS = [
    Measurement(
        "authenticated read",
        "per second",
        Better.MORE,
        _reads,
        Aim(1500),
        note="16 connections for 3 s; the peer does nothing at all, not even read the key.",
    ),
    Measurement(
        "instance create accepted",
        "per second",
        Better.MORE,
        _creates,
        Aim(500),
        rounds=3,
        note="64 connections for 3 s; each accepted instance is on disk (fsync) before its 201, and joins a line that grows.",
    ),
]
