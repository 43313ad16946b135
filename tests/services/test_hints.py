"""Bells: who listens hears, also what rang a moment before."""

from __future__ import annotations

import asyncio
import gc

from gpuyard.domain.ids import ExecutionId, InstanceId
from gpuyard.services.hints import Bell, Hints


async def test_a_ring_between_looking_and_listening_is_heard() -> None:
    bell = Bell()
    rung = bell.rung

    bell.ring()

    assert await bell.heard(rung, timeout=0) is True


async def test_everybody_who_listens_hears() -> None:
    bell = Bell()
    listeners = [asyncio.create_task(bell.heard(0, timeout=30)) for _ in range(5)]
    await asyncio.sleep(0)

    bell.ring()

    assert await asyncio.gather(*listeners) == [True] * 5


async def test_silence_ends_with_the_timeout() -> None:
    assert await Bell().heard(0, timeout=0.001) is False


async def test_a_listener_that_left_is_forgotten() -> None:
    bell = Bell()
    leaving = asyncio.create_task(bell.heard(0, timeout=30))
    await asyncio.sleep(0)

    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)

    assert bell._listeners == set()


async def test_the_woken_are_taken_once() -> None:
    hints = Hints()
    hints.wake(InstanceId("inst_1"))
    hints.wake(InstanceId("inst_1"))

    assert (hints.take_woken(), hints.take_woken()) == ({"inst_1"}, set())


async def test_a_bell_nobody_holds_takes_no_memory() -> None:
    hints = Hints()
    for number in range(100):
        hints.journal(ExecutionId(f"exec_{number}"))
    gc.collect()

    assert len(hints._journals) == 0
