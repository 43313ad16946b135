"""The local provider keeps the provider contract with real processes, in a sandbox and without, warm and cold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.provider import ProviderContract, StoppingContract, World


class TestSandboxed(ProviderContract, StoppingContract):
    @pytest.fixture
    def world(self, local_world: Callable[..., World]) -> World:
        return local_world(sandbox="bwrap", warm_pool=1)


class TestOpen(ProviderContract, StoppingContract):
    @pytest.fixture
    def world(self, local_world: Callable[..., World]) -> World:
        return local_world(sandbox="none", warm_pool=0)
