"""Keys: found by the digest of what the caller presents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, or_, select, update

from gpuyard.domain.accounts import Key, Scope
from gpuyard.domain.ids import AccountId, KeyId
from gpuyard.store.statements import Row, Session, Statement, insert_row
from gpuyard.store.tables import keys
from gpuyard.store.values import exact, instant, instant_or_none, micros, micros_or_none, plain

_k = keys.c

_ADD = Statement(insert_row(keys))
_GET = Statement(select(keys).where(_k.id == bindparam("id"), _k.account_id == bindparam("account_id")))
_BY_DIGEST = Statement(select(keys).where(_k.digest == bindparam("digest")))
_OF = Statement(select(keys).where(_k.account_id == bindparam("account_id")).order_by(_k.created_at, _k.id))
_SAVE = Statement(
    update(keys)
    .where(_k.id == bindparam("id"))
    .values(
        {
            name: bindparam(name)
            for name in ("name", "scopes", "instance_id", "expires_at", "revoked_at", "last_used_at")
        }
    )
)
_USED = Statement(
    update(keys)
    .where(
        _k.id == bindparam("id"),
        or_(_k.last_used_at.is_(None), _k.last_used_at < bindparam("at", type_=_k.last_used_at.type)),
    )
    .values(last_used_at=bindparam("at", type_=_k.last_used_at.type))
)


class SqlKeys:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, key: Key) -> None:
        self._session.change(_ADD, _row(key))

    def get(self, account_id: AccountId, key_id: KeyId) -> Key | None:
        row = self._session.row(_GET, {"id": key_id, "account_id": account_id})
        return None if row is None else _key(row)

    def by_digest(self, digest: str) -> Key | None:
        row = self._session.row(_BY_DIGEST, {"digest": digest})
        return None if row is None else _key(row)

    def of(self, account_id: AccountId) -> Sequence[Key]:
        return [_key(row) for row in self._session.rows(_OF, {"account_id": account_id})]

    def save(self, key: Key) -> None:
        self._session.change(_SAVE, _row(key))

    def used(self, last_used: Mapping[KeyId, datetime]) -> None:
        # In one order always, so that two servers noting the same keys do not wait for each other in a ring.
        self._session.change_many(_USED, [{"id": key_id, "at": micros(at)} for key_id, at in sorted(last_used.items())])


def _row(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "account_id": key.account_id,
        "member_id": key.member_id,
        "name": plain(key.name),
        "digest": key.digest,
        "hint": plain(key.hint),
        "scopes": " ".join(sorted(key.scopes)),
        "created_at": micros(key.created_at),
        "instance_id": key.instance_id,
        "expires_at": micros_or_none(key.expires_at),
        "revoked_at": micros_or_none(key.revoked_at),
        "last_used_at": micros_or_none(key.last_used_at),
    }


def _key(row: Row) -> Key:
    (own_id, account_id, member_id, name, digest, hint, scopes, created_at, instance_id, expires, revoked, used) = row
    return Key(
        own_id,
        account_id,
        member_id,
        exact(name),
        digest,
        exact(hint),
        frozenset(map(Scope, scopes.split())),
        instant(created_at),
        instance_id,
        instant_or_none(expires),
        instant_or_none(revoked),
        instant_or_none(used),
    )
