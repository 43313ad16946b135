"""The ledger: entries that are never changed, their sum, the intervals they come from, and holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update

from gpuyard.domain.ids import AccountId, InstanceId, IntervalId
from gpuyard.domain.ledger import EntryKind, Hold, LedgerEntry, UsageInterval
from gpuyard.ports.store import Page
from gpuyard.store import cursors
from gpuyard.store.statements import Row, Session, Statement, insert_row
from gpuyard.store.tables import IS_OPEN, balances, holds, ledger_entries, usage_intervals
from gpuyard.store.values import exact, instant, instant_or_none, micros, micros_or_none, plain

_e, _b, _u, _h = ledger_entries.c, balances.c, usage_intervals.c, holds.c

_KNOWN = Statement(
    select(_e.seq).where(_e.account_id == bindparam("account_id"), _e.idempotency_key == bindparam("idempotency_key"))
)
_APPEND = Statement(insert_row(ledger_entries, leave_out="seq"))
_BALANCE = Statement(select(_b.amount_micro).where(_b.account_id == bindparam("account_id")))
_FIRST_BALANCE = Statement(insert_row(balances))
_MOVE_BALANCE = Statement(
    update(balances)
    .where(_b.account_id == bindparam("its_account"))
    .values(amount_micro=_b.amount_micro + bindparam("by", type_=_b.amount_micro.type))
)

_OPEN_INTERVAL = Statement(insert_row(usage_intervals))
_OPEN_INTERVALS = Statement(select(usage_intervals).where(IS_OPEN).order_by(_u.started_at, _u.id))
_INTERVALS = Statement(
    select(usage_intervals).where(_u.instance_id == bindparam("instance_id")).order_by(_u.started_at, _u.id)
)
_ENDED_BETWEEN = Statement(
    select(usage_intervals).where(
        _u.account_id == bindparam("account_id"), _u.ended_at > bindparam("start"), _u.started_at < bindparam("end")
    )
)
_OPEN_BEFORE = Statement(
    select(usage_intervals).where(IS_OPEN, _u.account_id == bindparam("account_id"), _u.started_at < bindparam("end"))
)
_SAVE_INTERVAL = Statement(
    update(usage_intervals)
    .where(_u.id == bindparam("its_id"))
    .values(ended_at=bindparam("ended_at"), charged_micro=bindparam("charged_micro"), seen_at=bindparam("seen_at"))
)
_GET_INTERVAL = Statement(select(usage_intervals).where(_u.id == bindparam("id")))

_HOLD = Statement(insert_row(holds))
_CHANGE_HOLD = Statement(
    update(holds)
    .where(_h.instance_id == bindparam("its_instance"))
    .values(account_id=bindparam("account_id"), amount_micro=bindparam("amount_micro"), at=bindparam("at"))
)
_RELEASE_HOLD = Statement(delete(holds).where(_h.instance_id == bindparam("instance_id")))
_HELD = Statement(select(func.sum(_h.amount_micro)).where(_h.account_id == bindparam("account_id")))


@lru_cache
def _entries(*, later: bool) -> Statement:
    conditions = [_e.account_id == bindparam("account_id")]
    if later:
        conditions.append(_e.seq < bindparam("seq"))
    return Statement(
        select(ledger_entries).where(*conditions).order_by(_e.seq.desc()).limit(bindparam("limit", type_=_e.at.type))
    )


class SqlLedger:
    def __init__(self, session: Session) -> None:
        self._session = session

    def append(self, entry: LedgerEntry) -> bool:
        """An idempotency key belongs to its account: two accounts may use the same."""
        row = _entry_row(entry)
        if self._session.row(_KNOWN, row) is not None:
            return False
        self._session.change(_APPEND, row)
        if not self._session.change(_MOVE_BALANCE, {"its_account": entry.account_id, "by": entry.amount_micro}):
            self._session.change(_FIRST_BALANCE, {"account_id": entry.account_id, "amount_micro": entry.amount_micro})
        return True

    def balance(self, account_id: AccountId) -> int:
        row = self._session.row(_BALANCE, {"account_id": account_id})
        return 0 if row is None else row[0]

    def entries(self, account_id: AccountId, *, limit: int, cursor: str | None) -> Page[LedgerEntry]:
        """In the order they were written, the last first."""
        params: dict[str, Any] = {"account_id": account_id, "limit": limit + 1}
        if cursor is not None:
            (params["seq"],) = cursors.decode("entries", cursor, int)
        rows = self._session.rows(_entries(later=cursor is not None), params)
        more = len(rows) > limit > 0
        return Page(
            [_entry(row) for row in rows[:limit]], cursors.encode("entries", rows[limit - 1][0]) if more else None
        )

    def open_interval(self, interval: UsageInterval) -> None:
        """The database refuses a second open interval of one instance: that would charge it twice."""
        self._session.change(
            _OPEN_INTERVAL,
            {
                "id": interval.id,
                "account_id": interval.account_id,
                "instance_id": interval.instance_id,
                "price_per_hour_micro": interval.price_per_hour_micro,
                "started_at": micros(interval.started_at),
                "ended_at": micros_or_none(interval.ended_at),
                "charged_micro": interval.charged_micro,
                "seen_at": micros_or_none(interval.seen_at),
            },
        )

    def open_intervals(self) -> Sequence[UsageInterval]:
        return [_interval(row) for row in self._session.rows(_OPEN_INTERVALS)]

    def intervals(self, instance_id: InstanceId) -> Sequence[UsageInterval]:
        """Oldest first."""
        return [_interval(row) for row in self._session.rows(_INTERVALS, {"instance_id": instance_id})]

    def intervals_between(self, account_id: AccountId, start: datetime, end: datetime) -> Sequence[UsageInterval]:
        """Oldest first."""
        # Two statements, since no one index finds both what ended late enough and what has not ended.
        params = {"account_id": account_id, "start": micros(start), "end": micros(end)}
        still_open = {"account_id": account_id, "end": micros(end)}
        rows = [*self._session.rows(_ENDED_BETWEEN, params), *self._session.rows(_OPEN_BEFORE, still_open)]
        return sorted(map(_interval, rows), key=lambda interval: (interval.started_at, interval.id))

    def save_interval(self, interval: UsageInterval) -> None:
        self._session.change(
            _SAVE_INTERVAL,
            {
                "its_id": interval.id,
                "ended_at": micros_or_none(interval.ended_at),
                "charged_micro": interval.charged_micro,
                "seen_at": micros_or_none(interval.seen_at),
            },
        )

    def get_interval(self, interval_id: IntervalId) -> UsageInterval | None:
        row = self._session.row(_GET_INTERVAL, {"id": interval_id})
        return None if row is None else _interval(row)

    def hold(self, hold: Hold) -> None:
        new = {"account_id": hold.account_id, "amount_micro": hold.amount_micro, "at": micros(hold.at)}
        if not self._session.change(_CHANGE_HOLD, {"its_instance": hold.instance_id, **new}):
            self._session.change(_HOLD, {"instance_id": hold.instance_id, **new})

    def release_hold(self, instance_id: InstanceId) -> None:
        self._session.change(_RELEASE_HOLD, {"instance_id": instance_id})

    def held(self, account_id: AccountId) -> int:
        row = self._session.row(_HELD, {"account_id": account_id})
        return int(row[0] or 0) if row is not None else 0


def _entry_row(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "account_id": entry.account_id,
        "kind": entry.kind.value,
        "amount_micro": entry.amount_micro,
        "idempotency_key": plain(entry.idempotency_key),
        "at": micros(entry.at),
        "instance_id": entry.instance_id,
        "reason": plain(entry.reason),
    }


def _entry(row: Row) -> LedgerEntry:
    _seq, account_id, kind, amount_micro, idempotency_key, at, instance_id, reason = row
    return LedgerEntry(
        account_id, EntryKind(kind), amount_micro, exact(idempotency_key), instant(at), instance_id, exact(reason)
    )


def _interval(row: Row) -> UsageInterval:
    own_id, account_id, instance_id, price_per_hour_micro, started_at, ended_at, charged_micro, seen_at = row
    return UsageInterval(
        own_id,
        account_id,
        instance_id,
        price_per_hour_micro,
        instant(started_at),
        instant_or_none(ended_at),
        charged_micro,
        instant_or_none(seen_at),
    )
