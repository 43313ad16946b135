"""Instances: found, listed, woken and claimed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from sqlalchemy import BigInteger, ColumnElement, and_, bindparam, case, delete, exists, func, null, or_, select, update

from gpuyard.domain.errors import NameTaken
from gpuyard.domain.ids import AccountId, InstanceId
from gpuyard.domain.instances import Instance, InstanceState
from gpuyard.ports.store import Claim, InstanceFilter, Page
from gpuyard.store import instance_pages
from gpuyard.store.instance_rows import COLUMNS, NEVER_CHANGES, gpu_rows, instance_of, label_rows, row_of
from gpuyard.store.statements import Params, Session, Statement, insert_row
from gpuyard.store.tables import IS_LIVE, instance_gpus, instance_labels, instances
from gpuyard.store.values import instant, micros, micros_or_none

_i = instances.c
_ITS = _i.id == bindparam("its_id")


def _number(name: str) -> ColumnElement[int]:
    return bindparam(name, type_=BigInteger())


def _later(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    """The later of two instants; null, for never, if `one` is null."""
    return case((other > one, other), else_=one)


_HELD = and_(_i.claim_holder == bindparam("holder"), _i.claim_token == _number("token"))

_ADD = Statement(insert_row(instances))
_ADD_LABEL = Statement(insert_row(instance_labels))
_ADD_GPU = Statement(insert_row(instance_gpus))
_DROP_LABELS = Statement(delete(instance_labels).where(instance_labels.c.instance_id == bindparam("id")))
_DROP_GPUS = Statement(delete(instance_gpus).where(instance_gpus.c.instance_id == bindparam("id")))

_GET = Statement(select(*COLUMNS).where(_i.id == bindparam("id")))
_BY_SHORT_ID = Statement(select(*COLUMNS).where(_i.short_id == bindparam("short_id")))
_BY_NAME = Statement(
    select(*COLUMNS).where(_i.account_id == bindparam("account_id"), _i.name == bindparam("name"), IS_LIVE)
)
_WHO_HAS = Statement(
    select(_i.id).where(_i.account_id == bindparam("account_id"), _i.name == bindparam("name"), IS_LIVE)
)
_BEFORE = Statement(select(_i.name, _i.labels, _i.spec, _i.live).where(_i.id == bindparam("id")))

_CHANGES = {c.name: bindparam(c.name, type_=c.type) for c in COLUMNS if c.name not in NEVER_CHANGES}
_CHANGES["live"] = bindparam("live", type_=_i.live.type)
_SAVE = Statement(update(instances).where(_ITS).values(_CHANGES))
_SAVE_CLAIMED = Statement(update(instances).where(_ITS, _HELD).values(_CHANGES))

_COUNTS = Statement(select(_i.state, func.count()).group_by(_i.state))
_LINE = Statement(
    select(*COLUMNS).where(_i.state == InstanceState.WAITING.value).order_by(_i.priority.desc(), _i.created_at, _i.id)
)

_WAKE = Statement(
    update(instances)
    .where(_ITS)
    .values(wake_at=_number("wake"), due_at=_later(_number("wake"), func.coalesce(_i.claim_until, _number("long_ago"))))
)
_SLEEP = Statement(update(instances).where(_ITS).values(wake_at=null(), due_at=null()))
_DUE = Statement(select(_i.id).where(_i.due_at <= _number("now")).order_by(_i.due_at, _i.id).limit(_number("limit")))
_NEXT_WAKE = Statement(select(func.min(_i.due_at)).where(_i.due_at.is_not(None)))
_CLAIM = Statement(
    update(instances)
    .where(_ITS, or_(_i.claim_until.is_(None), _i.claim_until <= _number("now")))
    .values(
        claim_holder=bindparam("holder"),
        claim_token=_i.claim_token + 1,
        claim_until=_number("until"),
        due_at=_later(_i.wake_at, _number("until")),
    )
    .returning(_i.claim_token)
)
_UNCLAIM = Statement(
    update(instances).where(_ITS, _HELD).values(claim_holder=null(), claim_until=null(), due_at=_i.wake_at)
)
_DISOWN = Statement(
    update(instances)
    .where(_i.claim_holder == bindparam("holder"))
    .values(claim_holder=null(), claim_until=null(), due_at=_i.wake_at)
)


@lru_cache
def _line_wanting(gpu_types: int) -> Statement:
    theirs = instance_gpus.c
    asks = exists().where(
        theirs.instance_id == _i.id,
        theirs.gpu_type.in_([bindparam(f"gpu{n}", type_=theirs.gpu_type.type) for n in range(gpu_types)]),
    )
    return Statement(
        select(*COLUMNS)
        .where(_i.state == InstanceState.WAITING.value, asks)
        .order_by(_i.priority.desc(), _i.created_at, _i.id)
    )


@lru_cache
def _in_state(states: int) -> Statement:
    return Statement(
        select(*COLUMNS)
        .where(_i.state.in_([bindparam(f"state{n}", type_=_i.state.type) for n in range(states)]))
        .order_by(_i.created_at, _i.id)
    )


class SqlInstances:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, instance: Instance, *, wake_at: datetime | None) -> None:
        row = row_of(instance)
        if row["live"]:
            self._must_be_free(instance)
        unclaimed = {"claim_holder": None, "claim_token": 0, "claim_until": None}
        wake = micros_or_none(wake_at)
        self._session.change(_ADD, {**row, **unclaimed, "wake_at": wake, "due_at": wake})
        self._session.change_many(_ADD_LABEL, label_rows(instance, row))
        self._session.change_many(_ADD_GPU, gpu_rows(instance, row))

    def get(self, instance_id: InstanceId) -> Instance | None:
        return self._one(_GET, {"id": instance_id})

    def find(self, account_id: AccountId, ref: str) -> Instance | None:
        for found in (self.get(InstanceId(ref)), self.by_short_id(ref)):
            if found is not None and found.account_id == account_id:
                return found
        return self._one(_BY_NAME, {"account_id": account_id, "name": ref})

    def by_short_id(self, short_id: str) -> Instance | None:
        return self._one(_BY_SHORT_ID, {"short_id": short_id})

    def page(self, account_id: AccountId, filter: InstanceFilter, *, limit: int, cursor: str | None) -> Page[Instance]:
        return instance_pages.page(self._session, account_id, filter, limit=limit, cursor=cursor)

    def save(self, instance: Instance, *, claim: Claim | None = None) -> bool:
        """The claim's expiry only opens the instance to others: until one of them takes it, the holder may save.

        False also for an instance that was never added.
        """
        row = row_of(instance)
        before = self._session.row(_BEFORE, {"id": instance.id})
        if before is None:
            return False
        name, labels, spec, live = before
        if row["live"] and (name != instance.name or not live):
            self._must_be_free(instance)
        if claim is None:
            touched = self._session.change(_SAVE, {**row, "its_id": instance.id})
        else:
            held = {"its_id": instance.id, "holder": claim.holder, "token": claim.token}
            touched = self._session.change(_SAVE_CLAIMED, {**row, **held})
        if not touched:
            return False
        if labels != row["labels"] or live != row["live"]:
            self._session.change(_DROP_LABELS, {"id": instance.id})
            self._session.change_many(_ADD_LABEL, label_rows(instance, row))
        if spec != row["spec"] or live != row["live"]:
            self._session.change(_DROP_GPUS, {"id": instance.id})
            self._session.change_many(_ADD_GPU, gpu_rows(instance, row))
        return True

    def line(self, wanting: Collection[str] | None = None) -> Sequence[Instance]:
        """Of a long line, only what is asked for is read: an order that holds the writer meanwhile is short."""
        if wanting is None:
            return [instance_of(row) for row in self._session.rows(_LINE)]
        params = {f"gpu{n}": gpu_type for n, gpu_type in enumerate(sorted(wanting))}
        return [instance_of(row) for row in self._session.rows(_line_wanting(len(params)), params)]

    def in_state(self, *states: InstanceState) -> Sequence[Instance]:
        if not states:
            return []
        params = {f"state{n}": state.value for n, state in enumerate(states)}
        return [instance_of(row) for row in self._session.rows(_in_state(len(states)), params)]

    def counts(self) -> Mapping[InstanceState, int]:
        """States that no instance is in are left out."""
        return {InstanceState(state): count for state, count in self._session.rows(_COUNTS)}

    def wake(self, instance_id: InstanceId, at: datetime | None) -> None:
        if at is None:
            self._session.change(_SLEEP, {"its_id": instance_id})
        else:
            self._session.change(_WAKE, {"its_id": instance_id, "wake": micros(at), "long_ago": _LONG_AGO})

    def due(self, now: datetime, *, limit: int) -> Sequence[InstanceId]:
        return [InstanceId(row[0]) for row in self._session.rows(_DUE, {"now": micros(now), "limit": limit})]

    def next_wake(self) -> datetime | None:
        """What somebody holds is due when the claim ends."""
        row = self._session.row(_NEXT_WAKE)
        return None if row is None or row[0] is None else instant(row[0])

    def claim(self, instance_id: InstanceId, holder: str, *, now: datetime, until: datetime) -> Claim | None:
        """A holder that has a live claim already gets no second one: two of its tasks would work at once."""
        params = {"its_id": instance_id, "holder": holder, "now": micros(now), "until": micros(until)}
        row = self._session.row(_CLAIM, params)
        return None if row is None else Claim(instance_id, holder, row[0], until)

    def disown(self, holder: str) -> int:
        return self._session.change(_DISOWN, {"holder": holder})

    def unclaim(self, claim: Claim) -> None:
        self._session.change(_UNCLAIM, {"its_id": claim.instance_id, "holder": claim.holder, "token": claim.token})

    def _one(self, statement: Statement, params: Params) -> Instance | None:
        row = self._session.row(statement, params)
        return None if row is None else instance_of(row)

    def _must_be_free(self, instance: Instance) -> None:
        row = self._session.row(_WHO_HAS, {"account_id": instance.account_id, "name": instance.name})
        if row is not None and row[0] != instance.id:
            raise NameTaken(
                f"another instance is called {instance.name!r}",
                field="name",
                hint="choose another name, or delete that instance first",
                details={"instance_id": row[0]},
            )


_LONG_AGO = -(2**62)
