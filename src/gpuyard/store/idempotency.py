"""Which request an Idempotency-Key stood for, and what it made."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, delete, select, update

from gpuyard.domain.ids import AccountId
from gpuyard.store.statements import Session, Statement, insert_row
from gpuyard.store.tables import idempotency
from gpuyard.store.values import micros, plain

_i = idempotency.c
_HERE = (_i.account_id == bindparam("its_account"), _i.key == bindparam("its_key"))

_GET = Statement(select(_i.digest, _i.made).where(*_HERE))
_ADD = Statement(insert_row(idempotency))
_CHANGE = Statement(
    update(idempotency).where(*_HERE).values(digest=bindparam("digest"), made=bindparam("made"), at=bindparam("at"))
)
_FORGET = Statement(delete(idempotency).where(_i.at < bindparam("at")))


class SqlIdempotency:
    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, account_id: AccountId, key: str) -> tuple[str, str] | None:
        row = self._session.row(_GET, {"its_account": account_id, "its_key": plain(key)})
        return None if row is None else (row[0], row[1])

    def put(self, account_id: AccountId, key: str, *, digest: str, made: str, at: datetime) -> None:
        """Replaces what the key stood for before."""
        new = {"digest": digest, "made": made, "at": micros(at)}
        if not self._session.change(_CHANGE, {"its_account": account_id, "its_key": plain(key), **new}):
            self._session.change(_ADD, {"account_id": account_id, "key": plain(key), **new})

    def forget_before(self, instant: datetime) -> int:
        """How many were forgotten."""
        return self._session.change(_FORGET, {"at": micros(instant)})
