"""What must be finished is finished, though we are told to stop."""

from __future__ import annotations

import asyncio

import pytest

from gpuyard.sdk import _io


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_what_was_begun_is_finished_however_often_the_task_is_cancelled(times: int) -> None:
    gate = asyncio.Event()
    done: list[str] = []

    async def work() -> str:
        await gate.wait()
        done.append("done")
        return "value"

    task = asyncio.create_task(_io.async_finish(work))
    for _ in range(times):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["done"]


async def test_its_value_and_its_error_are_passed_on() -> None:
    async def value() -> int:
        return 1

    async def error() -> int:
        raise ValueError("no")

    assert await _io.async_finish(value) == _io.sync_finish(lambda: 1) == 1
    with pytest.raises(ValueError, match="no"):
        await _io.async_finish(error)
