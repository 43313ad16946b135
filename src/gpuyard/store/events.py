"""Events, numbered so that a reader who goes on from the last number it saw misses none.

Two PostgreSQL transactions may take numbers in one order and commit in the other; a reader in between would step over the
smaller number for good. So a transaction's events are numbered last, under a lock that is held until its commit is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from sqlalchemy import bindparam, func, select

from gpuyard.domain.events import Event
from gpuyard.domain.ids import AccountId
from gpuyard.store.statements import Params, Row, Session, Statement, insert_row
from gpuyard.store.tables import events
from gpuyard.store.values import from_json, instant, micros, to_json

_e = events.c

_ADD = Statement(insert_row(events, leave_out="seq"))
_LAST = Statement(select(func.max(_e.seq)))


@lru_cache
def _after(*, of_subject: bool) -> Statement:
    conditions = [_e.account_id == bindparam("account_id"), _e.seq > bindparam("seq")]
    if of_subject:
        conditions.append(_e.subject == bindparam("subject"))
    return Statement(select(events).where(*conditions).order_by(_e.seq).limit(bindparam("limit", type_=_e.at.type)))


class SqlEvents:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, event: Event) -> None:
        """It is numbered at the commit: within the same transaction `after` and `last_seq` do not see it yet."""
        self._session.defer_event(
            {
                "account_id": event.account_id,
                "subject": event.subject,
                "kind": event.kind,
                "at": micros(event.at),
                "data": to_json(dict(event.data)),
            }
        )

    def after(self, account_id: AccountId, seq: int, *, limit: int, subject: str | None = None) -> Sequence[Event]:
        params = {"account_id": account_id, "seq": seq, "limit": limit}
        if subject is not None:
            params["subject"] = subject
        return [_event(row) for row in self._session.rows(_after(of_subject=subject is not None), params)]

    def last_seq(self) -> int:
        row = self._session.row(_LAST)
        return row[0] if row is not None and row[0] is not None else 0


def write_events(session: Session, waiting: Sequence[Params]) -> None:
    session.change_many(_ADD, waiting)


def _event(row: Row) -> Event:
    seq, account_id, subject, kind, at, data = row
    return Event(account_id, subject, kind, instant(at), from_json(data), seq)
