"""Code and commands in instances: started once, followed by anybody, readable after the instance is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from gpuyard.domain.accounts import Caller, Scope
from gpuyard.domain.errors import IdempotencyConflict, IllegalMove, Invalid, NotFound
from gpuyard.domain.events import Event
from gpuyard.domain.executions import (
    EXECUTION_ENDED,
    EXECUTION_LIFECYCLE,
    Execution,
    ExecutionEvent,
    ExecutionKind,
    ExecutionState,
)
from gpuyard.domain.ids import ExecutionId, new_execution_id
from gpuyard.domain.instances import Instance
from gpuyard.ports.residents import Resident
from gpuyard.ports.store import Page, Tx
from gpuyard.services.inside import resident_of
from gpuyard.services.instances import find
from gpuyard.services.yard import Yard

READ_BYTES = 256 * 1024
SLOW_LOOK_SECONDS = 1.0
SIGNALS = ("INT", "TERM", "KILL")


@dataclass(frozen=True, slots=True)
class ExecutionOrder:
    kind: ExecutionKind
    code: str = ""
    argv: tuple[str, ...] = ()
    kernel: str = "main"
    detached: bool = False
    name: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: timedelta | None = None
    idempotency_key: str | None = None
    request_digest: str = ""


async def create(yard: Yard, caller: Caller, ref: str, order: ExecutionOrder) -> Execution:
    """Write it down and let the collector start it. Raises IllegalMove when the instance does not run."""
    caller.must(Scope.RUN)
    if order.kind is ExecutionKind.ARGV and not order.argv:
        raise Invalid("argv is empty", field="argv", hint='give the program and its arguments: ["ls", "-l"]')
    now = yard.clock.now()

    def write(tx: Tx) -> Execution:
        instance = find(tx, caller, ref)
        scoped = f"exec:{instance.id}:{order.idempotency_key}"
        if order.idempotency_key is not None:
            before = tx.idempotency.get(caller.account_id, scoped)
            if before is not None and before[0] != order.request_digest:
                raise IdempotencyConflict(
                    f"the Idempotency-Key {order.idempotency_key!r} stands for another execution",
                    field="Idempotency-Key",
                    hint="use a new key for a new request; repeat a request unchanged",
                )
            made = tx.executions.get(ExecutionId(before[1])) if before is not None else None
            if made is not None:
                return made
        resident_of(yard, instance)
        execution = Execution(
            id=new_execution_id(),
            account_id=caller.account_id,
            instance_id=instance.id,
            kind=order.kind,
            state=ExecutionState.ACCEPTED,
            created_at=now,
            code=order.code,
            argv=order.argv,
            kernel=order.kernel,
            detached=order.detached,
            name=order.name,
            env=dict(order.env),
            timeout=order.timeout,
        )
        tx.executions.add(execution)
        if order.idempotency_key is not None:
            tx.idempotency.put(caller.account_id, scoped, digest=order.request_digest, made=execution.id, at=now)
        return execution

    execution = await yard.store.write(write)
    yard.hints.executions.ring()
    return execution


async def get(yard: Yard, caller: Caller, ref: str, execution_id: str) -> Execution:
    """Also of an instance that is gone, as long as the yard remembers it."""
    caller.must(Scope.READ)
    return await yard.store.read(lambda tx: _find(tx, caller, ref, execution_id))


def _find(tx: Tx, caller: Caller, ref: str, execution_id: str) -> Execution:
    instance = find(tx, caller, ref)
    execution = tx.executions.get(ExecutionId(execution_id))
    if execution is None or execution.instance_id != instance.id:
        raise NotFound(f"there is no execution {execution_id!r} in {instance.name}")
    return execution


async def page(
    yard: Yard,
    caller: Caller,
    ref: str,
    *,
    states: frozenset[ExecutionState] | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[Execution]:
    caller.must(Scope.READ)
    return await yard.store.read(
        lambda tx: tx.executions.page(find(tx, caller, ref).id, states=states, limit=limit, cursor=cursor)
    )


async def signal(yard: Yard, caller: Caller, ref: str, execution_id: str, name: str) -> Execution:
    """INT, TERM or KILL to its whole process tree. Of an ended one: no effect."""
    caller.must(Scope.RUN)
    if name not in SIGNALS:
        raise Invalid(f"{name!r} is no signal we send", field="signal", hint=f"one of {', '.join(SIGNALS)}")
    execution, instance = await yard.store.read(
        lambda tx: (_find(tx, caller, ref, execution_id), find(tx, caller, ref))
    )
    if execution.state not in EXECUTION_ENDED:
        await (await _begun(yard, instance, execution)).signal(execution.id, name)
    return execution


async def _begun(yard: Yard, instance: Instance, execution: Execution) -> Resident:
    """The resident, which has the execution from now on: one just accepted may still be on its way there."""
    resident = resident_of(yard, instance)
    if execution.state is ExecutionState.ACCEPTED:
        await resident.execute(execution)
    return resident


async def send_input(
    yard: Yard, caller: Caller, ref: str, execution_id: str, body: AsyncIterator[bytes], *, eof: bool
) -> None:
    """Bytes for its standard input. Raises IllegalMove when it has ended or its input is closed, TooLarge."""
    caller.must(Scope.RUN)
    execution, instance = await yard.store.read(
        lambda tx: (_find(tx, caller, ref, execution_id), find(tx, caller, ref))
    )
    if execution.state in EXECUTION_ENDED:
        raise IllegalMove(f"the execution is {execution.state}: nobody reads its input")
    await (await _begun(yard, instance, execution)).feed(execution.id, body, eof=eof)


async def output(
    yard: Yard, caller: Caller, ref: str, execution_id: str, *, after: int = 0, follow: bool = False
) -> AsyncIterator[tuple[int, bytes]]:
    """(offset after it, whole records) from offset `after`; with `follow` until the execution has ended.

    What the yard holds is read, never the instance: many may follow, and each sees every byte once.
    """
    caller.must(Scope.READ)
    execution = await yard.store.read(lambda tx: _find(tx, caller, ref, execution_id))
    if after < 0:
        raise Invalid(f"after is {after}", field="after", hint="an offset of zero or more")
    known = execution.id
    bell = yard.hints.journal(known)
    offset = after
    while True:
        rung = bell.rung
        ended = execution.state in EXECUTION_ENDED
        while data := yard.journals.read(known, offset, READ_BYTES):
            offset += len(data)
            yield offset, data
        if ended or not follow:
            return
        await bell.heard(rung, SLOW_LOOK_SECONDS)
        current = await yard.store.read(lambda tx: tx.executions.get(known))
        if current is None:
            return
        execution = current


def finish(tx: Tx, execution: Execution, event: ExecutionEvent, **facts: object) -> Execution | None:
    """Record how it ended, with its event. None when that was already written down: the first end counts."""
    current = tx.executions.get(execution.id)
    if current is None or not EXECUTION_LIFECYCLE.allows(current.state, event):
        return None
    ended = replace(current, state=EXECUTION_LIFECYCLE.next(current.state, event), **facts)  # type: ignore[arg-type]
    tx.executions.save(ended)
    assert ended.ended_at is not None or ended.state is ExecutionState.RUNNING
    if ended.ended_at is not None:
        data = {"state": str(ended.state), "exit_code": ended.exit_code, "instance_id": ended.instance_id}
        tx.events.add(Event(ended.account_id, ended.id, f"execution.{ended.state}", ended.ended_at, data))
    return ended
