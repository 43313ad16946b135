"""Pages of instances that cost the same at a thousand instances and at a million.

A page is read from the index that both fulfils one condition and is ordered by age, from where the last page ended.
An index can hold several values of what it is keyed by (states, live and deleted) only one after the other, so each value is
a branch of its own, and the branches are merged.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Table,
    Text,
    bindparam,
    exists,
    literal_column,
    select,
    tuple_,
)

from gpuyard.domain.ids import AccountId
from gpuyard.domain.instances import Instance, InstanceState
from gpuyard.ports.store import InstanceFilter, Page
from gpuyard.store import cursors
from gpuyard.store.instance_rows import COLUMNS, instance_of
from gpuyard.store.statements import Row, Session, Statement
from gpuyard.store.tables import instance_gpus, instance_labels, instances
from gpuyard.store.values import micros, plain

S = InstanceState

_FEW = frozenset({S.WAITING, S.REQUESTED, S.PROVISIONING, S.STOPPING, S.STARTING, S.DELETING})
"""States that instances only pass through: going by state finds little to look at, whatever else is asked for."""

_i, _l, _g = instances.c, instance_labels.c, instance_gpus.c


@dataclass(frozen=True, slots=True)
class Shape:
    """What kind of page it is: everything that changes the statement, nothing that is a mere value."""

    by: str
    """The index that leads: a key of `_LEADS`."""
    states: int = 0
    name: bool = False
    labels: int = 0
    gpu: bool = False
    provider: bool = False
    live: bool = True
    """For the leads that have `live` in their index: which of the two this branch reads."""
    later: bool = False


def page(
    session: Session, account_id: AccountId, filter: InstanceFilter, *, limit: int, cursor: str | None
) -> Page[Instance]:
    states = frozenset(S) - {S.DELETED} if filter.states is None else filter.states
    params = _params(account_id, filter, states)
    params["limit"] = limit + 1
    if cursor is not None:
        params["at"], params["at_id"] = cursors.decode("instances", cursor, int, str)
    branches = [
        session.rows(_statement(shape), {**params, **extra})
        for shape, extra in _branches(filter, states, later=cursor is not None)
    ]
    rows = branches[0] if len(branches) == 1 else list(heapq.merge(*branches, key=_age, reverse=True))
    items = [instance_of(row) for row in rows[:limit]]
    more = len(rows) > limit and items
    return Page(items, cursors.encode("instances", micros(items[-1].created_at), items[-1].id) if more else None)


def _age(row: Row) -> tuple[int, str]:
    return row[7], row[0]


def _params(account_id: AccountId, filter: InstanceFilter, states: frozenset[InstanceState]) -> dict[str, Any]:
    params: dict[str, Any] = {"account_id": account_id}
    params.update({f"state{n}": state.value for n, state in enumerate(sorted(states))})
    for n, (key, value) in enumerate(sorted(filter.labels.items())):
        params[f"key{n}"], params[f"value{n}"] = key, plain(value)
    optional = {"name": filter.name, "gpu_type": filter.gpu_type, "provider": filter.provider}
    return params | {name: value for name, value in optional.items() if value is not None}


def _branches(
    filter: InstanceFilter, states: frozenset[InstanceState], *, later: bool
) -> list[tuple[Shape, dict[str, Any]]]:
    wants = Shape(
        by=_lead(filter, states),
        states=0 if states >= frozenset(S) - {S.DELETED} else len(states),
        name=filter.name is not None,
        labels=len(filter.labels),
        gpu=filter.gpu_type is not None,
        provider=filter.provider is not None,
        later=later,
    )
    if wants.by == "state":
        one = replace(wants, states=0)
        return [(one, {"state": state.value}) for state in sorted(states)]
    lives = [live for live in (True, False) if (states - {S.DELETED} if live else S.DELETED in states)]
    return [(replace(wants, live=live, states=wants.states if live else 0), {}) for live in lives]


def _lead(filter: InstanceFilter, states: frozenset[InstanceState]) -> str:
    if filter.name is not None:
        return "name"
    if states and states <= _FEW:
        return "state"
    if filter.labels:
        return "label"
    if filter.gpu_type is not None:
        return "gpu"
    if filter.provider is not None:
        return "provider"
    return "age" if states >= frozenset(S) - {S.DELETED} else "state"


@lru_cache(maxsize=512)
def _statement(shape: Shape) -> Statement:
    lead = _LEADS[shape.by]
    conditions: list[ColumnElement[bool]] = list(lead.conditions)
    if lead.has_live:
        # Written out, not a parameter: only so do the databases see that a partial index will do.
        conditions.append(lead.table.c.live == literal_column("1" if shape.live else "0"))
    if shape.states:
        conditions.append(_i.state.in_([_text(f"state{n}") for n in range(shape.states)]))
    if shape.name and shape.by != "name":
        conditions.append(_i.name == _text("name"))
    if shape.provider and shape.by != "provider":
        conditions.append(_i.provider == _text("provider"))
    if shape.gpu and shape.by != "gpu":
        conditions.append(exists().where(_g.instance_id == _i.id, _g.gpu_type == _text("gpu_type")))
    for n in range(1 if shape.by == "label" else 0, shape.labels):
        label = instance_labels.alias()
        conditions.append(
            exists().where(
                label.c.instance_id == _i.id, label.c.key == _text(f"key{n}"), label.c.value == _text(f"value{n}")
            )
        )
    if shape.later:
        conditions.append(tuple_(*lead.order) < tuple_(_number("at"), _text("at_id")))
    from_ = instances if lead.table is instances else lead.table.join(instances, _i.id == lead.table.c.instance_id)
    return Statement(
        select(*COLUMNS)
        .select_from(from_)
        .where(*conditions)
        .order_by(*(column.desc() for column in lead.order))
        .limit(_number("limit"))
    )


def _text(name: str) -> BindParameter[str]:
    return bindparam(name, type_=Text())


def _number(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger())


@dataclass(frozen=True, slots=True)
class Lead:
    """An index to read a page from: its table, what it is keyed by, and its order."""

    table: Table
    conditions: tuple[ColumnElement[bool], ...]
    order: tuple[ColumnElement[Any], ColumnElement[Any]]
    has_live: bool = True


_BY_AGE = (_i.created_at, _i.id)
_MINE = _i.account_id == _text("account_id")

_LEADS: Mapping[str, Lead] = {
    "age": Lead(instances, (_MINE,), _BY_AGE),
    "name": Lead(instances, (_MINE, _i.name == _text("name")), _BY_AGE),
    "state": Lead(instances, (_MINE, _i.state == _text("state")), _BY_AGE, has_live=False),
    "provider": Lead(instances, (_MINE, _i.provider == _text("provider")), _BY_AGE),
    "label": Lead(
        instance_labels,
        (_l.account_id == _text("account_id"), _l.key == _text("key0"), _l.value == _text("value0")),
        (_l.created_at, _l.instance_id),
    ),
    "gpu": Lead(
        instance_gpus,
        (_g.account_id == _text("account_id"), _g.gpu_type == _text("gpu_type")),
        (_g.created_at, _g.instance_id),
    ),
}
