"""Two servers of one yard on PostgreSQL: they share the work, and neither orders what the other ordered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from gpuyard.catalogue import load_catalogue
from gpuyard.domain.errors import NoCapacity
from gpuyard.domain.ids import InstanceId
from gpuyard.domain.instances import GpuRequest, Instance, InstanceSpec, InstanceState
from gpuyard.domain.sightings import Reach
from gpuyard.ports.clock import SystemClock
from gpuyard.providers.fake import FakeProvider, FakeSettings, Machine
from gpuyard.reconcilers import Reconcilers, refresh_offers
from gpuyard.services import accounts, instances
from gpuyard.services.authentication import authenticate
from gpuyard.services.instances import CreateOrder
from gpuyard.services.secrets import YardSecret
from gpuyard.services.yard import Yard
from gpuyard.store import DiskJournals, open_store
from tests.world import GPU, QuietResidents

S = InstanceState
CARDS = 40
Machines = dict[InstanceId, Machine]


@asynccontextmanager
async def a_server(
    url: str, machines: Machines, tmp: Path, name: str
) -> AsyncIterator[tuple[Yard, asyncio.Task[None]]]:
    """A server's yard and its background work, which a test may cancel as a crash would."""
    provider = FakeProvider(
        load_catalogue(),
        FakeSettings(gpus={GPU: CARDS}),
        machines=machines,
        reach=lambda order: Reach(socket="/nowhere"),
    )
    store = await asyncio.to_thread(open_store, url)
    yard = Yard(
        store=store,
        clock=SystemClock(),
        catalogue=load_catalogue(),
        providers={provider.name: provider},
        residents=QuietResidents(),
        journals=DiskJournals(tmp / "journals"),
        secret=YardSecret(b"s" * 32),
    )
    await refresh_offers(yard)
    work = asyncio.create_task(Reconcilers(yard, name).run())
    try:
        yield yard, work
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await store.close()


async def order(yard: Yard, key: str, *, wait: bool = False) -> Instance:
    caller = await authenticate(yard, key)
    spec = InstanceSpec(gpus=(GpuRequest(GPU, 1),))
    return (await instances.create(yard, caller, CreateOrder(spec=spec, wait=wait)))[0]


async def reach_state(yard: Yard, ids: set[InstanceId], state: InstanceState) -> None:
    async with asyncio.timeout(60):
        while True:
            found = await yard.store.read(lambda tx: {i: tx.instances.get(i) for i in ids})
            if all(instance is not None and instance.state is state for instance in found.values()):
                return
            await asyncio.sleep(0.02)


async def test_every_machine_is_ordered_once_by_whichever_server(postgres_url: str, tmp_path: Path) -> None:
    machines: Machines = {}
    async with AsyncExitStack() as stack:
        one, _ = await stack.enter_async_context(a_server(postgres_url, machines, tmp_path, "one"))
        two, _ = await stack.enter_async_context(a_server(postgres_url, machines, tmp_path, "two"))
        key = await accounts.first_owner(one) or ""

        made = await asyncio.gather(*(order(yard, key) for _ in range(CARDS // 2) for yard in (one, two)))
        await reach_state(two, {instance.id for instance in made}, S.RUNNING)

        assert {machine.orders for machine in machines.values()} == {1}
        assert machines.keys() == {instance.id for instance in made}


async def test_two_servers_together_never_promise_more_than_there_is(postgres_url: str, tmp_path: Path) -> None:
    machines: Machines = {}
    async with AsyncExitStack() as stack:
        one, _ = await stack.enter_async_context(a_server(postgres_url, machines, tmp_path, "one"))
        two, _ = await stack.enter_async_context(a_server(postgres_url, machines, tmp_path, "two"))
        key = await accounts.first_owner(one) or ""

        outcomes = await asyncio.gather(
            *(order(yard, key) for _ in range(CARDS) for yard in (one, two)), return_exceptions=True
        )

        assert sum(isinstance(outcome, Instance) for outcome in outcomes) == CARDS
        assert sum(isinstance(outcome, NoCapacity) for outcome in outcomes) == CARDS


async def test_what_a_dead_server_had_begun_is_finished_by_the_other(postgres_url: str, tmp_path: Path) -> None:
    machines: Machines = {}
    async with AsyncExitStack() as stack:
        one, work = await stack.enter_async_context(a_server(postgres_url, machines, tmp_path, "one"))
        key = await accounts.first_owner(one) or ""
        made = [await order(one, key, wait=True) for _ in range(10)]
        work.cancel()

        two, _ = await stack.enter_async_context(a_server(postgres_url, machines, tmp_path, "two"))
        await reach_state(two, {instance.id for instance in made}, S.RUNNING)

        assert {machine.orders for machine in machines.values()} == {1}
