"""The real application in this process: real store and services, a fake provider, a clock that is told the time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from gpuyard.api.admission import Passed, Traffic
from gpuyard.api.app import build
from gpuyard.api.limits import BodySizes, Buckets
from gpuyard.api.streams import OpenStreams
from tests.world import World

RTX = {"type": "nvidia-rtx-3090"}


async def _no_metrics() -> bytes:
    return b""


@dataclass
class Api:
    world: World
    passed: list[Passed] = field(default_factory=list)
    rate: Buckets = field(default_factory=lambda: Buckets(0, 1))
    failures: Buckets = field(default_factory=lambda: Buckets(0, 1))
    logins: Buckets = field(default_factory=lambda: Buckets(1, 3))
    sizes: BodySizes = field(default_factory=BodySizes)
    clients: list[httpx.AsyncClient] = field(default_factory=list)
    root: str = "/yard/v1"
    made_keys: dict[str, str] = field(default_factory=dict)
    """Owners' keys by the name of their account."""

    def client(self, key: str | None = None, *, root: str | None = None) -> httpx.AsyncClient:
        """Somebody with this key; nobody for None."""
        app = build(
            self.world.yard,
            rate=self.rate,
            failures=self.failures,
            logins=self.logins,
            sizes=self.sizes,
            streams=OpenStreams(),
            traffic=Traffic(),
            noted=self.passed.append,
            metrics=_no_metrics,
        )
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url=f"http://yard{self.root if root is None else root}",
            headers={"Authorization": f"Bearer {key}"} if key else {},
        )
        self.clients.append(client)
        return client

    @property
    def owner(self) -> httpx.AsyncClient:
        return self.client(self.world.owner_key)

    async def another_account(self, name: str = "other") -> str:
        """Its owner's key."""
        made = await self.owner.post("/accounts", json={"name": name})
        self.made_keys[name] = str(made.json()["owner_key"])
        return self.made_keys[name]

    async def key(self, maker: str, **order: Any) -> str:
        made = await self.client(maker).post("/keys", json=order)
        assert made.status_code == 201, made.text
        return str(made.json()["secret"])

    async def viewer(self, maker: str) -> str:
        member = (await self.client(maker).post("/members", json={"name": "v", "role": "viewer"})).json()
        return await self.key(maker, member_id=member["id"])


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with World.made() as world:
        api = Api(world)
        yield api
        for client in api.clients:
            await client.aclose()
