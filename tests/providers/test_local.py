"""The local provider keeps the provider contract with real processes, in a sandbox and without, warm and cold."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gpuyard.catalogue import load_catalogue
from gpuyard.providers.local.provider import LocalProvider
from gpuyard.providers.local.settings import LocalSettings
from tests.contract.provider import ProviderContract, ResidentContract, StoppingContract, World, life_of


class TestSandboxedAndWarm(ProviderContract, ResidentContract, StoppingContract):
    @pytest.fixture
    def world(self, local_world: Callable[..., World]) -> World:
        return local_world(sandbox="bwrap", warm_pool=1)


class TestOpenAndCold(ProviderContract, ResidentContract, StoppingContract):
    @pytest.fixture
    def world(self, local_world: Callable[..., World]) -> World:
        return local_world(sandbox="none", warm_pool=0)


_directories: list[Path] = []


@pytest.fixture(scope="module", autouse=True)
def _erase_directories() -> Iterator[None]:
    yield
    for directory in _directories:
        shutil.rmtree(directory)


def a_world() -> World:
    _directories.append(Path(tempfile.mkdtemp(prefix="gpuyard-test-")))
    own = LocalSettings(data_dir=_directories[-1], warm_pool=1, simulate={"nvidia-rtx-3090": 2, "nvidia-t4": 1})
    return World(make=lambda: LocalProvider(own, load_catalogue()))


TestLocalLife = life_of(a_world).TestCase
TestLocalLife.settings = settings(
    max_examples=4, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
