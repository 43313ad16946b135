"""Real residents for the tests: one per module where it may be shared, new ones where it may not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.resident.running import RunningResident


@pytest.fixture(scope="module")
def resident() -> Iterator[RunningResident]:
    """One running resident for a whole test module; tests use ids and files of their own."""
    running = RunningResident()
    try:
        running.start()
        yield running
    finally:
        running.remove()


@pytest.fixture
def a_resident() -> Iterator[Callable[..., RunningResident]]:
    """Makes residents (not started yet) that are gone when the test is over."""
    made: list[RunningResident] = []

    def make(**changes: Any) -> RunningResident:
        made.append(RunningResident(**changes))
        return made[-1]

    yield make
    for running in made:
        running.remove()
