"""Executions: what was run, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, select, tuple_, update

from gpuyard.domain.executions import EXECUTION_ENDED, Execution, ExecutionKind, ExecutionState
from gpuyard.domain.ids import ExecutionId, InstanceId
from gpuyard.ports.store import Page
from gpuyard.store import cursors
from gpuyard.store.statements import Row, Session, Statement, insert_row
from gpuyard.store.tables import IS_UNFINISHED, executions
from gpuyard.store.values import (
    duration_or_none,
    exact,
    exact_or_none,
    from_json,
    instant,
    instant_or_none,
    micros,
    micros_or_none,
    plain,
    span_or_none,
    to_json,
)

_x = executions.c
_NEVER_CHANGES = {"id", "account_id", "instance_id", "kind", "created_at"}

_ADD = Statement(insert_row(executions))
_GET = Statement(select(executions).where(_x.id == bindparam("id")))
_SAVE = Statement(
    update(executions)
    .where(_x.id == bindparam("id"))
    .values({c.name: bindparam(c.name, type_=c.type) for c in executions.c if c.name not in _NEVER_CHANGES})
)
_UNFINISHED = Statement(select(executions).where(IS_UNFINISHED).order_by(_x.created_at, _x.id))
_UNFINISHED_HERE = Statement(
    select(executions).where(IS_UNFINISHED, _x.instance_id == bindparam("instance_id")).order_by(_x.created_at, _x.id)
)


@lru_cache
def _page(states: int, *, later: bool) -> Statement:
    conditions = [_x.instance_id == bindparam("instance_id")]
    if states:
        conditions.append(_x.state.in_([bindparam(f"state{n}", type_=_x.state.type) for n in range(states)]))
    if later:
        position = (bindparam("at", type_=_x.created_at.type), bindparam("id", type_=_x.id.type))
        conditions.append(tuple_(_x.created_at, _x.id) < tuple_(*position))
    return Statement(
        select(executions)
        .where(*conditions)
        .order_by(_x.created_at.desc(), _x.id.desc())
        .limit(bindparam("limit", type_=_x.created_at.type))
    )


class SqlExecutions:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, execution: Execution) -> None:
        self._session.change(_ADD, _row(execution))

    def get(self, execution_id: ExecutionId) -> Execution | None:
        row = self._session.row(_GET, {"id": execution_id})
        return None if row is None else _execution(row)

    def page(
        self,
        instance_id: InstanceId,
        *,
        states: frozenset[ExecutionState] | None = None,
        limit: int,
        cursor: str | None,
    ) -> Page[Execution]:
        params: dict[str, Any] = {"instance_id": instance_id, "limit": limit + 1}
        if cursor is not None:
            params["at"], params["id"] = cursors.decode("executions", cursor, int, str)
        if states is not None and not states:
            return Page([], None)
        params.update({f"state{n}": state.value for n, state in enumerate(states or ())})
        rows = self._session.rows(_page(len(states or ()), later=cursor is not None), params)
        items = [_execution(row) for row in rows[:limit]]
        more = len(rows) > limit and items
        return Page(items, cursors.encode("executions", micros(items[-1].created_at), items[-1].id) if more else None)

    def unfinished(self, instance_id: InstanceId | None = None) -> Sequence[Execution]:
        """Oldest first."""
        if instance_id is None:
            rows = self._session.rows(_UNFINISHED)
        else:
            rows = self._session.rows(_UNFINISHED_HERE, {"instance_id": instance_id})
        return [_execution(row) for row in rows]

    def save(self, execution: Execution) -> None:
        self._session.change(_SAVE, _row(execution))


def _row(execution: Execution) -> dict[str, Any]:
    return {
        "id": execution.id,
        "account_id": execution.account_id,
        "instance_id": execution.instance_id,
        "kind": execution.kind.value,
        "state": execution.state.value,
        "ended": int(execution.state in EXECUTION_ENDED),
        "created_at": micros(execution.created_at),
        "code": plain(execution.code),
        "argv": to_json(list(execution.argv)),
        "kernel": plain(execution.kernel),
        "detached": int(execution.detached),
        "name": plain(execution.name),
        "env": to_json(dict(execution.env)),
        "timeout": span_or_none(execution.timeout),
        "started_at": micros_or_none(execution.started_at),
        "ended_at": micros_or_none(execution.ended_at),
        "exit_code": execution.exit_code,
        "reason": plain(execution.reason),
        "result": None if execution.result is None else plain(execution.result),
        "output_bytes": execution.output_bytes,
    }


def _execution(row: Row) -> Execution:
    (own_id, account_id, instance_id, kind, state, _ended, created_at, code, argv, kernel, detached, name, env) = row[
        :13
    ]
    (timeout, started_at, ended_at, exit_code, reason, result, output_bytes) = row[13:]
    return Execution(
        own_id,
        account_id,
        instance_id,
        ExecutionKind(kind),
        ExecutionState(state),
        instant(created_at),
        exact(code),
        tuple(from_json(argv)),
        exact(kernel),
        bool(detached),
        exact(name),
        from_json(env),
        duration_or_none(timeout),
        instant_or_none(started_at),
        instant_or_none(ended_at),
        exit_code,
        exact(reason),
        exact_or_none(result),
        output_bytes,
    )
