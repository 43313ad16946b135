"""Tries to place a waiting instance, those alike in a row counted as one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, select, update

from gpuyard.domain.events import Attempt
from gpuyard.domain.ids import InstanceId
from gpuyard.store.statements import Row, Session, Statement, insert_row
from gpuyard.store.tables import attempts
from gpuyard.store.values import exact, instant, micros, plain

_a = attempts.c
_COLUMNS = (_a.number, _a.first_at, _a.last_at, _a.times, _a.outcome, _a.reason)
_HERE = _a.instance_id == bindparam("instance_id")

_LAST = Statement(select(*_COLUMNS).where(_HERE).order_by(_a.number.desc()).limit(1))
_OF = Statement(select(*_COLUMNS).where(_HERE).order_by(_a.number))
_ADD = Statement(insert_row(attempts))
_AGAIN = Statement(
    update(attempts)
    .where(_HERE, _a.number == bindparam("last_number"))
    .values(times=_a.times + 1, last_at=bindparam("last_at"))
)


class SqlAttempts:
    def __init__(self, session: Session) -> None:
        self._session = session

    def note(self, instance_id: InstanceId, *, at: datetime, outcome: str, reason: str) -> None:
        row = self._session.row(_LAST, {"instance_id": instance_id})
        last = None if row is None else _attempt(row)
        if last is not None and (last.outcome, last.reason) == (outcome, reason):
            self._session.change(
                _AGAIN, {"instance_id": instance_id, "last_number": last.number, "last_at": micros(at)}
            )
            return
        self._session.change(
            _ADD,
            {
                "instance_id": instance_id,
                "number": 1 if last is None else last.number + 1,
                "first_at": micros(at),
                "last_at": micros(at),
                "times": 1,
                "outcome": plain(outcome),
                "reason": plain(reason),
            },
        )

    def of(self, instance_id: InstanceId) -> Sequence[Attempt]:
        return [_attempt(row) for row in self._session.rows(_OF, {"instance_id": instance_id})]


def _attempt(row: Row) -> Attempt:
    number, first_at, last_at, times, outcome, reason = row
    return Attempt(number, instant(first_at), instant(last_at), times, exact(outcome), exact(reason))
