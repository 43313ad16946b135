"""The fake keeps the provider contract, and breaks it in the one way it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from gpuyard.catalogue import load_catalogue
from gpuyard.domain.errors import Invalid, ProviderRefused, ProviderUnavailable, UnknownGpu
from gpuyard.domain.ids import InstanceId
from gpuyard.domain.sightings import Presence
from gpuyard.ports.provider import CanList, CanStop, CanWatch
from gpuyard.providers.fake import FakeProvider, FakeSettings, Machine, Misbehaviour, from_settings
from tests.contract.provider import ProviderContract, StoppingContract, World, life_of

CATALOGUE = load_catalogue()
M, P = Misbehaviour, Presence


class HandClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def a_world(settings: FakeSettings | None = None) -> World:
    machines: dict[InstanceId, Machine] = {}
    return World(make=lambda: FakeProvider(CATALOGUE, settings, machines=machines), patience=10)


class TestFake(ProviderContract, StoppingContract):
    @pytest.fixture
    async def world(self) -> AsyncIterator[World]:
        world = a_world()
        yield world
        await world.close()


class TestFakeCloud(ProviderContract, StoppingContract):
    @pytest.fixture
    async def world(self) -> AsyncIterator[World]:
        world = a_world(FakeSettings(owned=False, ready_after=timedelta(milliseconds=20)))
        yield world
        await world.close()


TestFakeLife = life_of(a_world).TestCase


def a_fake(way: Misbehaviour = M.NONE) -> tuple[FakeProvider, World, HandClock]:
    clock = HandClock()
    fake = FakeProvider(CATALOGUE, clock=clock)
    fake.misbehave(way)
    return fake, World(make=lambda: fake, patience=10), clock


def test_the_fake_has_every_extra_ability() -> None:
    fake, _, _ = a_fake()

    assert isinstance(fake, CanStop)
    assert isinstance(fake, CanList)
    assert isinstance(fake, CanWatch)


async def test_a_lost_reply_leaves_one_machine() -> None:
    fake, world, _ = a_fake(M.LOSE_REPLY)
    order = await world.an_order()

    with pytest.raises(ProviderUnavailable):
        await fake.order(order)
    with pytest.raises(ProviderUnavailable):
        await fake.order(order)

    assert list(fake.machines) == [order.instance_id]
    assert fake.machines[order.instance_id].orders == 2


async def test_an_unavailable_fake_does_nothing() -> None:
    fake, world, _ = a_fake()
    order = await world.an_order()
    fake.misbehave(M.UNAVAILABLE)

    with pytest.raises(ProviderUnavailable):
        await fake.order(order)

    assert not fake.machines


async def test_a_refusing_fake_says_no_for_good() -> None:
    fake, world, _ = a_fake(M.REFUSE)

    with pytest.raises(ProviderRefused) as refusal:
        await fake.order(await world.an_order())

    assert not refusal.value.details.get("no_capacity")


async def test_a_lying_fake_offers_what_it_then_refuses() -> None:
    fake, world, _ = a_fake(M.LIE)
    order = await world.an_order()

    with pytest.raises(ProviderRefused) as refusal:
        await fake.order(order)

    assert refusal.value.details["no_capacity"] is True
    assert await world.free(order.spec.gpus[0].type) > 0


async def test_a_slow_fake_is_ready_when_its_time_has_come() -> None:
    fake, world, clock = a_fake(M.SLOW)
    fake.clock = clock
    order = await world.an_order()
    await fake.order(order)
    assert (await fake.sight(order.instance_id)).presence is P.PENDING

    clock.at += fake.settings.slowness

    assert (await fake.sight(order.instance_id)).presence is P.RUNNING
    await fake.close()


async def test_a_stuck_machine_never_becomes_ready() -> None:
    fake, world, clock = a_fake(M.STUCK)
    order = await world.an_order()
    await fake.order(order)

    clock.at += timedelta(days=365)

    assert (await fake.sight(order.instance_id)).presence is P.PENDING


async def test_a_crashing_machine_says_why() -> None:
    fake, world, _ = a_fake(M.CRASH)
    order = await world.an_order()

    await fake.order(order)

    sighting = await fake.sight(order.instance_id)
    assert (sighting.presence, sighting.reason) == (P.FAILED, "it was told to crash")


async def test_vanished_machines_are_absent_and_announced() -> None:
    fake, world, _ = a_fake()
    order = await world.running()
    await fake.changed()

    fake.misbehave(M.VANISH)

    assert await fake.changed() == order.instance_id
    assert (await fake.sight(order.instance_id)).presence is P.ABSENT


async def test_a_deaf_fake_keeps_what_it_was_asked_to_release() -> None:
    fake, world, _ = a_fake()
    order = await world.running()
    fake.misbehave(M.DEAF)

    await fake.release(order.instance_id)

    assert list(fake.machines) == [order.instance_id]


def test_settings_take_any_spelling_of_a_card() -> None:
    fake = from_settings({"gpus": {"RTX 4090": 2}, "prices": {"4090": "0.5"}}, CATALOGUE)

    assert fake.settings.gpus == {"nvidia-rtx-4090": 2}
    assert fake.settings.prices == {"nvidia-rtx-4090": 500_000}


@pytest.mark.parametrize(
    ("settings", "error", "names"),
    [
        ({"gpu": {}}, Invalid, "gpu"),
        ({"gpus": {"rtx 4091": 1}}, UnknownGpu, "rtx 4091"),
        ({"gpus": {"rtx 4090": -1}}, Invalid, "-1"),
        ({"prices": {"rtx 4090": "free"}}, Invalid, "free"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings: dict[str, object], error: type[Invalid], names: str) -> None:
    with pytest.raises(error, match=names):
        from_settings(settings, CATALOGUE)
