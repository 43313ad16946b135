"""What every provider promises. Subclass `ProviderContract`, give it a `world`, and run it with pytest.

The file stands alone: it needs gpuyard, pytest, pytest-asyncio, httpx and, for `life_of`, hypothesis.

    class TestMine(ProviderContract):
        @pytest.fixture
        async def world(self, tmp_path):
            world = World(make=lambda: MyProvider(tmp_path))
            yield world
            await world.close()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol, cast

import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from gpuyard.domain.errors import ProviderRefused
from gpuyard.domain.gpus import CPU
from gpuyard.domain.ids import InstanceId, new_instance_id, short_id
from gpuyard.domain.instances import GpuRequest, InstanceSpec
from gpuyard.domain.offers import Offer
from gpuyard.domain.sightings import Presence, Sighting
from gpuyard.ports.provider import CanList, CanStop, CanWatch, Order, Provider

P = Presence
SECRET = "resident-secret-of-the-contract"


@dataclass
class World:
    """One place with machines, and the provider objects that serve it one after the other."""

    make: Callable[[], Provider]
    """A new provider over the same machines: what a restarted server has."""
    patience: float = 60.0
    """Seconds until a sighting must have come true."""
    spec: InstanceSpec = field(default_factory=lambda: InstanceSpec(gpus=()))
    """What is ordered where the test does not say; its `gpus` are replaced by what is on offer."""
    _open: Provider | None = None
    _ordered: list[InstanceId] = field(default_factory=list)

    async def provider(self) -> Provider:
        if self._open is None:
            self._open = self.make()
            await self._open.open()
        return self._open

    async def restart(self) -> Provider:
        """Close the provider and open another over the same machines."""
        if self._open is not None:
            await self._open.close()
            self._open = None
        return await self.provider()

    async def close(self) -> None:
        """Release all that was ordered, and wait until it is gone."""
        provider = await self.provider()
        for instance_id in self._ordered:
            await provider.release(instance_id)
        for instance_id in self._ordered:
            await self.seen(instance_id, P.ABSENT)
        await provider.close()
        self._open = None

    async def an_order(self, *gpus: GpuRequest, instance_id: InstanceId | None = None) -> Order:
        """For the given cards, or for one card of the first pool that has one free."""
        provider = await self.provider()
        offers = await provider.offers()
        if not gpus:
            gpus = (GpuRequest(next(o.gpu_type for o in offers if o.available > 0 and o.gpu_type != CPU)),)
        asked = instance_id or new_instance_id()
        self._ordered.append(asked)
        return Order(
            instance_id=asked,
            short_id=short_id(asked),
            name=f"compute-gpu-{short_id(asked)}",
            region=next(offer.region for offer in offers if offer.gpu_type == gpus[0].type),
            spec=replace(self.spec, gpus=gpus),
            resident_secret=SECRET,
            app_password="app-password",
            labels={},
        )

    async def seen(self, instance_id: InstanceId, *wanted: Presence) -> Sighting:
        """Look until one of `wanted` is seen; a machine that failed instead is an error at once."""
        provider = await self.provider()
        async with asyncio.timeout(self.patience):
            while True:
                sighting = await provider.sight(instance_id)
                if sighting.presence in wanted:
                    return sighting
                assert sighting.presence is not P.FAILED or wanted == (P.ABSENT,), sighting.reason
                await asyncio.sleep(0.01)

    async def running(self) -> Order:
        order = await self.an_order()
        await (await self.provider()).order(order)
        await self.seen(order.instance_id, P.RUNNING)
        return order

    async def free(self, gpu_type: str) -> int:
        """How many cards of a type the provider says are free now, over all regions."""
        offers = await (await self.provider()).offers()
        return sum(offer.available for offer in offers if offer.gpu_type == gpu_type)

    async def until_free(self, gpu_type: str, count: int) -> None:
        async with asyncio.timeout(self.patience):
            while await self.free(gpu_type) != count:
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def inside(self, instance_id: InstanceId) -> AsyncIterator[httpx.AsyncClient | None]:
        """A client of the instance's resident; None for a provider whose machines have none."""
        reach = (await self.provider()).reach(instance_id)
        if reach is None:
            yield None
            return
        transport = httpx.AsyncHTTPTransport(uds=reach.socket)
        headers = {"X-Resident-Secret": SECRET}
        base = reach.url or "http://resident"
        async with httpx.AsyncClient(transport=transport, base_url=base, headers=headers, timeout=30) as client:
            yield client


class ProviderContract:
    """Every test orders what it needs and the world gives it all back at the end."""

    async def test_offers_are_sound(self, world: World) -> None:
        provider = await world.provider()

        offers = await provider.offers()

        assert len({offer.pool for offer in offers}) == len(offers), "one offer per pool"
        for offer in offers:
            _check_offer(offer, provider.name)

    async def test_an_order_becomes_a_running_machine(self, world: World) -> None:
        provider = await world.provider()
        order = await world.an_order()

        await provider.order(order)

        first = await provider.sight(order.instance_id)
        assert first.presence in (P.PENDING, P.RUNNING)
        await world.seen(order.instance_id, P.RUNNING)

    async def test_ordering_twice_makes_one_machine(self, world: World) -> None:
        provider = await world.provider()
        order = await world.an_order()
        gpu = order.spec.gpus[0].type
        before = await world.free(gpu)

        await asyncio.gather(*(provider.order(order) for _ in range(5)))
        await provider.order(order)

        await world.seen(order.instance_id, P.RUNNING)
        assert await world.free(gpu) == before - 1

    async def test_an_unknown_machine_is_absent(self, world: World) -> None:
        provider = await world.provider()

        sighting = await provider.sight(new_instance_id())

        assert sighting.presence is P.ABSENT

    async def test_an_unknown_machine_cannot_be_reached(self, world: World) -> None:
        provider = await world.provider()

        assert provider.reach(new_instance_id()) is None

    async def test_releasing_gives_the_cards_back(self, world: World) -> None:
        provider = await world.provider()
        order = await world.an_order()
        before = await world.free(order.spec.gpus[0].type)
        await provider.order(order)
        await world.seen(order.instance_id, P.RUNNING)

        await provider.release(order.instance_id)

        await world.seen(order.instance_id, P.ABSENT)
        await world.until_free(order.spec.gpus[0].type, before)
        assert provider.reach(order.instance_id) is None

    async def test_releasing_twice_does_no_harm(self, world: World) -> None:
        provider = await world.provider()
        order = await world.running()

        await asyncio.gather(provider.release(order.instance_id), provider.release(order.instance_id))
        await world.seen(order.instance_id, P.ABSENT)
        await provider.release(order.instance_id)

        assert (await provider.sight(order.instance_id)).presence is P.ABSENT

    async def test_releasing_what_is_still_being_made_ends_it(self, world: World) -> None:
        provider = await world.provider()
        order = await world.an_order()
        await provider.order(order)

        await provider.release(order.instance_id)

        await world.seen(order.instance_id, P.ABSENT)

    async def test_releasing_an_unknown_machine_succeeds(self, world: World) -> None:
        provider = await world.provider()
        unknown = new_instance_id()

        await provider.release(unknown)

        assert (await provider.sight(unknown)).presence is P.ABSENT

    async def test_capacity_is_never_exceeded_by_orders_at_once(self, world: World) -> None:
        provider = await world.provider()
        offer = min((o for o in await provider.offers() if o.available > 0), key=lambda o: o.available)
        orders = [await world.an_order(GpuRequest(offer.gpu_type)) for _ in range(offer.available + 3)]

        replies = await asyncio.gather(*(provider.order(order) for order in orders), return_exceptions=True)

        refusals = [reply for reply in replies if reply is not None]
        assert len(refusals) == 3
        for refusal in refusals:
            assert isinstance(refusal, ProviderRefused)
            assert refusal.details["no_capacity"] is True
        assert await world.free(offer.gpu_type) == 0

    async def test_a_refused_order_leaves_nothing(self, world: World) -> None:
        provider = await world.provider()
        offer = next(o for o in await provider.offers() if o.available > 0 and o.gpu_type != CPU)
        order = await world.an_order(GpuRequest(offer.gpu_type, offer.available + 1))

        with pytest.raises(ProviderRefused):
            await provider.order(order)

        assert (await provider.sight(order.instance_id)).presence is P.ABSENT
        assert await world.free(offer.gpu_type) == offer.available

    async def test_machines_outlive_the_provider_object(self, world: World) -> None:
        order = await world.running()
        gpu = order.spec.gpus[0].type
        free = await world.free(gpu)

        provider = await world.restart()

        await world.seen(order.instance_id, P.RUNNING)
        assert await world.free(gpu) == free
        if isinstance(provider, CanList):
            assert list(await provider.tenants()) == [order.instance_id]

    async def test_an_order_that_was_interrupted_ends_up_as_one_machine(self, world: World) -> None:
        order = await world.an_order()
        await (await world.provider()).order(order)

        provider = await world.restart()
        await provider.order(order)

        await world.seen(order.instance_id, P.RUNNING)

    async def test_every_machine_is_listed_until_it_is_gone(self, world: World) -> None:
        provider = await world.provider()
        if not isinstance(provider, CanList):
            pytest.skip("it does not list")
        order = await world.running()

        assert list(await provider.tenants()) == [order.instance_id]

        await provider.release(order.instance_id)
        await world.seen(order.instance_id, P.ABSENT)
        assert list(await provider.tenants()) == []

    async def test_a_change_is_announced(self, world: World) -> None:
        provider = await world.provider()
        if not isinstance(provider, CanWatch):
            pytest.skip("it does not watch")
        order = await world.an_order()
        await provider.order(order)

        async with asyncio.timeout(world.patience):
            while (await provider.sight(order.instance_id)).presence is not P.RUNNING:
                assert await provider.changed() == order.instance_id


class ResidentContract:
    """For providers whose machines are more than pretended."""

    async def test_the_resident_of_a_running_machine_answers_to_its_secret_alone(self, world: World) -> None:
        order = await world.running()

        async with world.inside(order.instance_id) as resident:
            assert resident is not None, "its machines have no resident"
            known = await resident.get("/executions")
            stranger = await resident.get("/executions", headers={"X-Resident-Secret": "guessed"})

        assert (known.status_code, stranger.status_code) == (200, 401)


class StoppingContract:
    """For providers that keep the disk of a stopped machine (CanStop)."""

    async def test_stopping_gives_the_cards_back_and_keeps_the_machine(self, world: World) -> None:
        provider = await _that_stops(world)
        order = await world.an_order()
        before = await world.free(order.spec.gpus[0].type)
        await provider.order(order)
        await world.seen(order.instance_id, P.RUNNING)

        await provider.stop(order.instance_id)

        await world.seen(order.instance_id, P.STOPPED)
        assert await world.free(order.spec.gpus[0].type) == before

    async def test_a_started_machine_has_the_disk_it_was_stopped_with(self, world: World) -> None:
        provider = await _that_stops(world)
        order = await world.running()
        async with world.inside(order.instance_id) as resident:
            if resident is not None:
                (await resident.put("/files/marker.txt", content=b"still here")).raise_for_status()

        await provider.stop(order.instance_id)
        await world.seen(order.instance_id, P.STOPPED)
        await provider.start(order)
        await world.seen(order.instance_id, P.RUNNING)

        async with world.inside(order.instance_id) as resident:
            if resident is not None:
                assert (await resident.get("/files/marker.txt")).content == b"still here"

    async def test_stopping_and_starting_twice_do_no_harm(self, world: World) -> None:
        provider = await _that_stops(world)
        order = await world.running()
        free = await world.free(order.spec.gpus[0].type)

        await asyncio.gather(provider.stop(order.instance_id), provider.stop(order.instance_id))
        await world.seen(order.instance_id, P.STOPPED)
        await provider.stop(order.instance_id)
        await asyncio.gather(provider.start(order), provider.start(order))
        await world.seen(order.instance_id, P.RUNNING)
        await provider.start(order)

        assert (await provider.sight(order.instance_id)).presence is P.RUNNING
        assert await world.free(order.spec.gpus[0].type) == free

    async def test_a_stopped_machine_stays_stopped_over_a_restart(self, world: World) -> None:
        provider = await _that_stops(world)
        order = await world.running()
        await provider.stop(order.instance_id)
        await world.seen(order.instance_id, P.STOPPED)

        again = await world.restart()

        assert (await again.sight(order.instance_id)).presence is P.STOPPED

    async def test_a_stop_that_was_interrupted_is_finished_later(self, world: World) -> None:
        provider = await _that_stops(world)
        order = await world.running()
        await provider.stop(order.instance_id)

        await world.restart()

        await world.seen(order.instance_id, P.STOPPED)

    async def test_a_stopped_machine_can_be_released(self, world: World) -> None:
        provider = await _that_stops(world)
        order = await world.running()
        await provider.stop(order.instance_id)
        await world.seen(order.instance_id, P.STOPPED)

        await provider.release(order.instance_id)

        await world.seen(order.instance_id, P.ABSENT)

    async def test_a_start_without_free_cards_is_refused_and_leaves_it_stopped(self, world: World) -> None:
        provider = await _that_stops(world)
        order = await world.running()
        await provider.stop(order.instance_id)
        await world.seen(order.instance_id, P.STOPPED)
        gpu = order.spec.gpus[0].type
        others = await world.an_order(GpuRequest(gpu, await world.free(gpu)))
        await provider.order(others)

        with pytest.raises(ProviderRefused) as refusal:
            await provider.start(order)

        assert refusal.value.details["no_capacity"] is True
        assert (await provider.sight(order.instance_id)).presence is P.STOPPED


class _Stopping(Provider, CanStop, Protocol):
    """A provider that can stop, for the type checker."""


async def _that_stops(world: World) -> _Stopping:
    provider = await world.provider()
    assert isinstance(provider, CanStop), "this contract is for providers with stop and start"
    return cast(_Stopping, provider)


def _check_offer(offer: Offer, provider: str) -> None:
    assert offer.provider == provider
    assert offer.region
    assert offer.gpu_type == offer.gpu_type.lower()
    assert offer.gpu_name
    assert offer.price_per_hour_micro >= 0
    assert offer.available >= 0
    assert offer.total is None or offer.available <= offer.total
    assert offer.gpu_memory_gb > 0 or offer.gpu_type == CPU
    assert abs(datetime.now(UTC) - offer.seen_at) < timedelta(minutes=5), "seen_at is aware and recent"


def life_of(world: Callable[[], World]) -> type[RuleBasedStateMachine]:
    """A hypothesis state machine: any sequence of asks, repeated, interrupted and out of order, keeps these true:
    the cards in use are those of the machines that are not stopped, and no pool ever gives more than it has."""

    class Life(RuleBasedStateMachine):
        known: Bundle[Order] = Bundle("known")

        def __init__(self) -> None:
            super().__init__()
            self.loop = asyncio.Runner()
            self.world = world()
            self.wanted: dict[InstanceId, Order | None] = {}
            """Machines we ordered; None once stopped."""
            self.totals = {offer.gpu_type: offer.available for offer in self.loop.run(self._offers())}

        async def _offers(self) -> Sequence[Offer]:
            return await (await self.world.provider()).offers()

        def ask(self, verb: str, *args: object) -> bool:
            """False when it was refused for want of capacity."""

            async def run() -> bool:
                try:
                    await getattr(await self.world.provider(), verb)(*args)
                except ProviderRefused as refusal:
                    assert refusal.details.get("no_capacity"), refusal
                    return False
                return True

            return self.loop.run(run())

        @rule(target=known, pick=st.integers(0, 7), count=st.integers(1, 3))
        def order(self, pick: int, count: int) -> Order:
            types = sorted(self.totals)
            asked = types[pick % len(types)]
            gpus = () if asked == CPU else (GpuRequest(asked, count),)
            order = self.loop.run(self.world.an_order(*gpus)) if gpus else self.loop.run(self._cpu_order())
            if self.ask("order", order):
                self.wanted[order.instance_id] = order
            return order

        async def _cpu_order(self) -> Order:
            return replace(await self.world.an_order(GpuRequest(CPU)), spec=replace(self.world.spec, gpus=()))

        @rule(order=known)
        def order_again(self, order: Order) -> None:
            if self.wanted.get(order.instance_id, order) is order and self.ask("order", order):
                self.wanted[order.instance_id] = order

        @rule(order=known)
        def stop(self, order: Order) -> None:
            self.ask("stop", order.instance_id)
            if order.instance_id in self.wanted:
                self.loop.run(self.world.seen(order.instance_id, P.STOPPED))
                self.wanted[order.instance_id] = None

        @rule(order=known)
        def start(self, order: Order) -> None:
            if order.instance_id in self.wanted and self.ask("start", order):
                self.wanted[order.instance_id] = order

        @rule(order=consumes(known))
        def release(self, order: Order) -> None:
            self.ask("release", order.instance_id)
            self.loop.run(self.world.seen(order.instance_id, P.ABSENT))
            self.wanted.pop(order.instance_id, None)

        @rule()
        def restart(self) -> None:
            self.loop.run(self.world.restart())

        @invariant()
        def the_cards_in_use_are_those_of_machines_that_run(self) -> None:
            used: dict[str, int] = {}
            for order in self.wanted.values():
                for gpu, count in (order.spec.demand() if order else {}).items():
                    used[gpu] = used.get(gpu, 0) + count
            free = {offer.gpu_type: offer.available for offer in self.loop.run(self._offers())}
            assert free == {gpu: total - used.get(gpu, 0) for gpu, total in self.totals.items()}

        @invariant()
        def every_machine_is_where_it_was_left(self) -> None:
            async def look() -> None:
                provider = await self.world.provider()
                for instance_id, order in self.wanted.items():
                    expected = (P.STOPPED,) if order is None else (P.PENDING, P.RUNNING)
                    assert (await provider.sight(instance_id)).presence in expected
                if isinstance(provider, CanList):
                    assert set(await provider.tenants()) == set(self.wanted)

            self.loop.run(look())

        def teardown(self) -> None:
            self.loop.run(self.world.close())
            self.loop.close()

    Life.TestCase.settings = settings(deadline=None)
    return Life
