"""A whole yard in one process: the real store, services and reconcilers, a fake provider, and a clock that is told the time."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gpuyard.catalogue import load_catalogue
from gpuyard.domain.accounts import Caller
from gpuyard.domain.errors import InstanceUnreachable
from gpuyard.domain.executions import Execution
from gpuyard.domain.ids import ExecutionId, InstanceId
from gpuyard.domain.instances import GpuRequest, Instance, InstanceSpec, Limits
from gpuyard.domain.sightings import Reach
from gpuyard.ports.residents import Pipe, Reply, Samples
from gpuyard.providers.fake import FakeProvider, FakeSettings
from gpuyard.reconcilers import refresh_offers
from gpuyard.reconcilers.instances import InstanceReconciler
from gpuyard.services import accounts, instances, line
from gpuyard.services.authentication import authenticate
from gpuyard.services.instances import CreateOrder
from gpuyard.services.secrets import YardSecret
from gpuyard.services.yard import Yard
from gpuyard.store import DiskJournals, SqlStore, open_store

MORNING = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
GPU = "nvidia-rtx-3090"


class ToldClock:
    """Stands still until it is moved; nobody who sleeps by it waits long."""

    def __init__(self) -> None:
        self.instant = MORNING

    def now(self) -> datetime:
        return self.instant

    def forward(self, **span: float) -> None:
        self.instant += timedelta(**span)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.001)


class QuietResident:
    """Answers health and samples; runs nothing."""

    def __init__(self, active_at: datetime | None) -> None:
        self.active_at = active_at

    async def healthy(self) -> bool:
        return True

    async def execute(self, execution: Execution) -> None:
        raise InstanceUnreachable("this resident runs nothing")

    async def journal(self, execution_id: ExecutionId, *, after: int) -> AsyncIterator[bytes]:
        raise InstanceUnreachable("this resident runs nothing")
        yield b""

    async def signal(self, execution_id: ExecutionId, signal: str) -> None:
        raise InstanceUnreachable("this resident runs nothing")

    async def feed(self, execution_id: ExecutionId, body: AsyncIterator[bytes], *, eof: bool) -> None:
        raise InstanceUnreachable("this resident runs nothing")

    async def samples(self) -> Samples:
        return Samples(self.active_at, {})

    @asynccontextmanager
    async def request(self, method: str, path: str, **rest: Any) -> AsyncIterator[Reply]:
        raise InstanceUnreachable("this resident runs nothing")
        yield

    async def websocket(
        self,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        subprotocols: tuple[str, ...] = (),
    ) -> Pipe:
        raise InstanceUnreachable("this resident runs nothing")


class QuietResidents:
    def __init__(self) -> None:
        self.active_at: datetime | None = None

    def at(self, instance_id: InstanceId, reach: Reach, secret: str) -> QuietResident:
        return QuietResident(self.active_at)

    async def forget(self, instance_id: InstanceId) -> None: ...
    async def close(self) -> None: ...


class World:
    """`async with World.made() as world`: two RTX 3090 and one RTX 4090, and an account that owns the yard."""

    def __init__(self, store: SqlStore, directory: Path, settings: FakeSettings) -> None:
        self.clock = ToldClock()
        self.provider = FakeProvider(
            load_catalogue(), settings, clock=self.clock, reach=lambda order: Reach(socket="/nowhere")
        )
        self.residents = QuietResidents()
        self.store = store
        self.yard = Yard(
            store=store,
            clock=self.clock,
            catalogue=load_catalogue(),
            providers={self.provider.name: self.provider},
            residents=self.residents,
            journals=DiskJournals(directory / "journals"),
            secret=YardSecret(b"s" * 32),
        )
        self.reconciler = InstanceReconciler(self.yard, "this-server")
        self.noted: dict[InstanceId, Any] = {}

    @classmethod
    @asynccontextmanager
    async def made(cls, settings: FakeSettings | None = None) -> AsyncIterator[World]:
        with tempfile.TemporaryDirectory(prefix="gy") as directory:
            store = open_store(f"sqlite:///{directory}/yard.db")
            world = cls(store, Path(directory), settings or FakeSettings())
            world.owner_key = await accounts.first_owner(world.yard) or ""
            world.owner = await authenticate(world.yard, world.owner_key)
            await refresh_offers(world.yard)
            try:
                yield world
            finally:
                await store.close()

    owner: Caller
    owner_key: str

    async def create(self, gpu: str = GPU, count: int = 1, **order: Any) -> Instance:
        self.clock.forward(milliseconds=1)  # two orders are never made in the same instant
        spec = InstanceSpec(gpus=(GpuRequest(gpu, count),))
        limits = Limits(**{k: order.pop(k) for k in list(order) if k in Limits.__dataclass_fields__})
        made, _ = await instances.create(self.yard, self.owner, CreateOrder(spec=spec, limits=limits, **order))
        return made

    async def running(self, **order: Any) -> Instance:
        made = await self.create(**order)
        return await self.settled(made)

    async def settled(self, instance: Instance) -> Instance:
        """What becomes of it when the reconciler looks until there is nothing to do at once."""
        await self.reconciler.reconcile(instance.id)
        return await self.now(instance)

    async def now(self, instance: Instance) -> Instance:
        found = await self.store.read(lambda tx: tx.instances.get(instance.id))
        assert found is not None
        return found

    async def serve_line(self) -> None:
        await line.serve(self.yard, self.noted)

    async def in_use(self) -> int:
        return sum((await self.store.read(lambda tx: tx.allocations.in_use())).values())
