"""Real yards and clients of both manners."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.sdk.manners import MANNERS, open_client
from tests.yards import RunningYard, start_yard


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningYard]:
    running = start_yard(tmp_path_factory.mktemp("yard"))
    yield running
    running.close()


@pytest.fixture(params=MANNERS)
def manner(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def client(manner: str, yard: RunningYard) -> AsyncIterator[Any]:
    async with open_client(manner, yard.url, yard.key) as opened:
        yield opened


@pytest.fixture
async def instance(client: Any) -> AsyncIterator[Any]:
    async with client.instance("nvidia-rtx-3090", start_timeout=60) as running:
        yield running
