"""Yards of one provider with real processes, and the check that none is left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuyard.catalogue import load_catalogue
from gpuyard.providers.local import processes
from gpuyard.providers.local.provider import LocalProvider
from gpuyard.providers.local.settings import LocalSettings

pytest.register_assert_rewrite("tests.contract.provider")
from tests.contract.provider import World  # noqa: E402

CATALOGUE = load_catalogue()


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No resident that a test of this session started outlives it. Others may run beside us: theirs are not counted."""
    yield
    ours = {path.name for path in tmp_path_factory.getbasetemp().glob("*/**/machines/*")}
    left = {slot: found for slot, found in processes.slots_in_use().items() if slot in ours or slot in STARTED}
    assert left == {}, f"processes without an owner: {left}"


STARTED: set[str] = set()
"""Slots that tests saw, for the check at the end: their directories may be gone."""


@pytest.fixture
def a_local(tmp_path: Path) -> Callable[..., LocalProvider]:
    """Makes a provider over this test's own data directory; settings as keywords."""

    def make(**settings: Any) -> LocalProvider:
        return LocalProvider(LocalSettings(**{"data_dir": tmp_path / "yard", "warm_pool": 0, **settings}), CATALOGUE)

    return make


@pytest.fixture
async def local_world(a_local: Callable[..., LocalProvider]) -> AsyncIterator[Callable[..., World]]:
    """Makes the world of one local provider, and ends what it ran."""
    worlds: list[World] = []

    def make(**settings: Any) -> World:
        worlds.append(World(make=lambda: a_local(**settings)))
        return worlds[-1]

    yield make
    for world in worlds:
        provider = await world.provider()
        STARTED.update(place.name for place in (_data_dir(provider) / "machines").iterdir())
        await world.close()


def _data_dir(provider: object) -> Path:
    assert isinstance(provider, LocalProvider)
    return provider.settings.data_dir
