"""Starting executions and copying what they write, so that their output outlives connections and instances."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpuyard.domain.errors import InstanceUnreachable, NotFound, StorageFull, StoreUnavailable, YardError
from gpuyard.domain.executions import Execution, ExecutionEvent, ExecutionState
from gpuyard.domain.ids import ExecutionId
from gpuyard.domain.instances import Instance, InstanceState
from gpuyard.ports.residents import Resident
from gpuyard.ports.store import Tx
from gpuyard.services import executions, inside
from gpuyard.services.yard import Yard

log = logging.getLogger(__name__)

SLOW_LOOK_SECONDS = 2.0
RETRY_SECONDS = 0.5
HEAD = 96
"""A record's kind stands within its first bytes; the rest may be 64 KiB of text that need not be parsed."""

MOST_EXIT_CODE, MOST_REASON = 2**31, 200

NOTHING_RUNS = frozenset({InstanceState.STOPPED, InstanceState.FAILED, InstanceState.DELETED, InstanceState.WAITING})


@dataclass
class Collector:
    yard: Yard
    _following: dict[ExecutionId, asyncio.Task[None]] = field(default_factory=dict)

    async def run(self) -> None:
        """Until cancelled. The executions go on without us; the next collector resumes where this one ended."""
        bell = self.yard.hints.executions
        try:
            while True:
                rung = bell.rung
                for execution in await self._unfinished():
                    if execution.id not in self._following:
                        task = asyncio.create_task(self._guarded(execution), name=f"follow {execution.id}")
                        self._following[execution.id] = task
                        task.add_done_callback(lambda _, id_=execution.id: self._following.pop(id_, None))  # type: ignore[misc]
                await bell.heard(rung, SLOW_LOOK_SECONDS)
        finally:
            tasks = list(self._following.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _unfinished(self) -> Sequence[Execution]:
        try:
            return await self.yard.store.read(lambda tx: tx.executions.unfinished())
        except YardError as trouble:
            log.warning("cannot look for executions: %s", trouble.message)
            return ()

    async def _guarded(self, execution: Execution) -> None:
        """Try until it has ended; nothing that goes wrong with one execution concerns another."""
        while True:
            try:
                if await self._follow(execution.id):
                    return
            except (InstanceUnreachable, StoreUnavailable, StorageFull, OSError) as silent:
                log.debug("%s cannot be followed now: %s", execution.id, silent)
            except YardError as refused:
                await self._finish(execution.id, ExecutionEvent.EXITED_BADLY, reason=refused.message)
                return
            except Exception:
                log.exception("following %s failed", execution.id)
            await self.yard.clock.sleep(RETRY_SECONDS)

    async def _follow(self, execution_id: ExecutionId) -> bool:
        """Copy until the end. True when there is nothing left to do."""
        execution, instance = await self.yard.store.read(lambda tx: _with_instance(tx, execution_id))
        if execution is None or execution.state not in (ExecutionState.ACCEPTED, ExecutionState.RUNNING):
            return True
        if instance is None or instance.state in NOTHING_RUNS:
            state = instance.state if instance is not None else "forgotten"
            await self._finish(execution_id, ExecutionEvent.INSTANCE_GONE, reason=f"the instance was {state}")
            return True
        resident = inside.reached(self.yard, instance.id, instance.provider)
        if execution.state is ExecutionState.ACCEPTED:
            await resident.execute(execution)
            await self._started(execution_id)
        try:
            return await self._copy(execution_id, resident)
        except NotFound:
            await self._finish(execution_id, ExecutionEvent.INSTANCE_GONE, reason="the instance no longer knows it")
            return True

    async def _copy(self, execution_id: ExecutionId, resident: Resident) -> bool:
        journals, hints = self.yard.journals, self.yard.hints
        offset = journals.size(execution_id)
        last = _Last()
        if offset:
            last.read(self._held(execution_id))
        if last.exit is None:
            async for data in resident.journal(execution_id, after=offset):
                offset = journals.append(execution_id, offset, data)
                last.read(data.splitlines())
                hints.journal_grew(execution_id)
        if last.exit is None:  # the stream ended before the execution did: it is resumed
            return False
        code, reason = last.exit
        event = ExecutionEvent.EXITED_WELL if code == 0 and not reason else ExecutionEvent.EXITED_BADLY
        if reason == "cancelled":
            event = ExecutionEvent.CANCEL
        await self._finish(execution_id, event, reason=reason, exit_code=code, result=last.result, output_bytes=offset)
        return True

    def _held(self, execution_id: ExecutionId) -> Iterator[bytes]:
        """Every record we have already: after a restart the end may be among them."""
        offset = 0
        while data := self.yard.journals.read(execution_id, offset, executions.READ_BYTES):
            offset += len(data)
            yield from data.splitlines()

    async def _started(self, execution_id: ExecutionId) -> None:
        now = self.yard.clock.now()

        def write(tx: Tx) -> None:
            execution = tx.executions.get(execution_id)
            if execution is not None:
                executions.finish(tx, execution, ExecutionEvent.STARTED, started_at=now)

        await self.yard.store.write(write)
        self.yard.hints.journal_grew(execution_id)

    async def _finish(self, execution_id: ExecutionId, event: ExecutionEvent, **facts: Any) -> None:
        now = self.yard.clock.now()

        def write(tx: Tx) -> Execution | None:
            execution = tx.executions.get(execution_id)
            return executions.finish(tx, execution, event, ended_at=now, **facts) if execution is not None else None

        finished = await self.yard.store.write(write)
        self.yard.hints.journal_grew(execution_id)
        if finished is not None:
            self.yard.hints.events(finished.account_id).ring()


@dataclass
class _Last:
    """The two records that say how an execution ended. Programs of the instance may have forged them, so a record that
    says nothing sensible is passed over, and a forged end is an end."""

    exit: tuple[int | None, str] | None = None
    """Code and reason."""
    result: str | None = None

    def read(self, records: Iterable[bytes]) -> None:
        for record in records:
            head = record[:HEAD]
            if b'"exit"' in head or b'"result"' in head:
                self._take(_parsed(record))

    def _take(self, record: Mapping[str, Any]) -> None:
        if record.get("s") == "exit":
            code, reason = record.get("code"), record.get("reason")
            sane = isinstance(code, int) and abs(code) < MOST_EXIT_CODE
            self.exit = (code if sane else None, reason[:MOST_REASON] if isinstance(reason, str) else "")
        elif record.get("s") == "result" and isinstance(record.get("text"), str):
            self.result = record["text"]


def _parsed(record: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(record)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _with_instance(tx: Tx, execution_id: ExecutionId) -> tuple[Execution | None, Instance | None]:
    execution = tx.executions.get(execution_id)
    return execution, tx.instances.get(execution.instance_id) if execution is not None else None
