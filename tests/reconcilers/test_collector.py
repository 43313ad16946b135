"""Executions and their output: started once, copied byte for byte, finished whatever is cut or restarted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gpuyard.domain.errors import InstanceUnreachable
from gpuyard.domain.executions import EXECUTION_ENDED, Execution, ExecutionKind, ExecutionState
from gpuyard.domain.ids import ExecutionId, InstanceId
from gpuyard.domain.sightings import Reach
from gpuyard.reconcilers.collector import Collector
from gpuyard.services import executions, instances
from gpuyard.services.executions import ExecutionOrder
from tests.world import QuietResident, World

S = ExecutionState


def record(**fields: object) -> bytes:
    return json.dumps({"t": 1.0, **fields}).encode() + b"\n"


class WritingResident(QuietResident):
    """Has written `journal_bytes`; the stream is cut after `cut_after` bytes, again and again."""

    def __init__(self) -> None:
        super().__init__(None)
        self.written = b""
        self.cut_after = 1 << 30
        self.started: list[str] = []
        self.lose_reply = False

    async def execute(self, execution: Execution) -> None:
        if execution.id not in self.started:
            self.started.append(execution.id)
        if self.lose_reply:
            self.lose_reply = False
            raise InstanceUnreachable("the reply was lost")

    async def journal(self, execution_id: ExecutionId, *, after: int) -> AsyncIterator[bytes]:
        sent = 0
        for line in self.written[after:].splitlines(keepends=True):
            if sent >= self.cut_after:
                raise InstanceUnreachable("cut")
            sent += len(line)
            yield line


@asynccontextmanager
async def collecting(world: World, resident: WritingResident) -> AsyncIterator[None]:
    class Residents:
        def at(self, instance_id: InstanceId, reach: Reach, secret: str) -> WritingResident:
            return resident

        async def forget(self, instance_id: InstanceId) -> None: ...
        async def close(self) -> None: ...

    object.__setattr__(world.yard, "residents", Residents())
    work = asyncio.create_task(Collector(world.yard).run())
    try:
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def ended(world: World, execution: Execution) -> Execution:
    async with asyncio.timeout(20):
        while True:
            found = await world.store.read(lambda tx: tx.executions.get(execution.id))
            if found is not None and found.state in EXECUTION_ENDED:
                return found
            await asyncio.sleep(0.01)


async def everything(world: World, execution: Execution) -> bytes:
    found = executions.output(world.yard, world.owner, execution.instance_id, execution.id, follow=True)
    return b"".join([data async for _, data in found])


async def ask(world: World) -> Execution:
    instance = await world.running()
    order = ExecutionOrder(kind=ExecutionKind.SHELL, code="true")
    return await executions.create(world.yard, world.owner, instance.id, order)


async def test_output_and_end_are_copied_byte_for_byte() -> None:
    async with World.made() as world:
        resident = WritingResident()
        resident.written = (
            record(s="stdout", d="hej") + record(s="result", text="4") + record(s="exit", code=0, reason="")
        )
        execution = await ask(world)

        async with collecting(world, resident):
            done = await ended(world, execution)

        assert (done.state, done.exit_code, done.result) == (S.SUCCEEDED, 0, "4")
        assert await everything(world, execution) == resident.written
        assert done.output_bytes == len(resident.written)


async def test_a_stream_that_is_cut_again_and_again_loses_and_repeats_nothing() -> None:
    async with World.made() as world:
        resident = WritingResident()
        lines = [record(s="stdout", d=f"line {n}") for n in range(12)]
        resident.written = b"".join(lines) + record(s="exit", code=3, reason="")
        resident.cut_after = len(lines[0]) * 5
        execution = await ask(world)

        async with collecting(world, resident):
            done = await ended(world, execution)

        assert (done.state, done.exit_code) == (S.FAILED, 3)
        assert await everything(world, execution) == resident.written


async def test_a_lost_reply_to_the_start_starts_it_once() -> None:
    async with World.made() as world:
        resident = WritingResident()
        resident.lose_reply = True
        resident.written = record(s="exit", code=0, reason="")
        execution = await ask(world)

        async with collecting(world, resident):
            done = await ended(world, execution)

        assert done.state is S.SUCCEEDED
        assert resident.started == [execution.id]


async def test_an_end_that_was_copied_before_a_crash_is_written_down_after_it() -> None:
    async with World.made() as world:
        execution = await ask(world)
        held = record(s="stdout", d="x") + record(s="exit", code=0, reason="")
        world.yard.journals.append(execution.id, 0, held)
        resident = WritingResident()
        resident.written = held

        async with collecting(world, resident):
            done = await ended(world, execution)

        assert done.state is S.SUCCEEDED
        assert await everything(world, execution) == held


async def test_an_execution_ends_as_lost_with_its_instance_and_keeps_its_output() -> None:
    async with World.made() as world:
        resident = WritingResident()
        resident.written = record(s="stdout", d="half a story")
        execution = await ask(world)
        async with collecting(world, resident):
            async with asyncio.timeout(20):
                while world.yard.journals.size(execution.id) < len(resident.written):
                    await asyncio.sleep(0.01)

            await instances.delete(world.yard, world.owner, execution.instance_id)
            await world.reconciler.reconcile(execution.instance_id)
            done = await ended(world, execution)

        assert done.state is S.LOST
        assert world.yard.journals.read(execution.id, 0, 1000) == resident.written


async def test_a_follower_sees_what_is_written_while_it_waits() -> None:
    async with World.made() as world:
        resident = WritingResident()
        resident.written = record(s="stdout", d="first")
        execution = await ask(world)

        async with collecting(world, resident):
            follower = asyncio.create_task(everything(world, execution))
            async with asyncio.timeout(20):
                while world.yard.journals.size(execution.id) < len(resident.written):
                    await asyncio.sleep(0.01)
            resident.written += record(s="stdout", d="second") + record(s="exit", code=0, reason="")
            seen = await follower

        assert seen == resident.written


@pytest.mark.parametrize(
    "forged",
    [record(s="exit", code="0", reason=7), record(s="exit", code=10**30), record(s="exit"), record(s="exit", code=[1])],
)
async def test_an_end_that_makes_no_sense_is_an_end_that_went_badly(forged: bytes) -> None:
    async with World.made() as world:
        resident = WritingResident()
        resident.written = b'{"s": "result"\n"result"\n' + forged
        execution = await ask(world)

        async with collecting(world, resident):
            done = await ended(world, execution)

        assert (done.state, done.exit_code, done.result) == (S.FAILED, None, None)
