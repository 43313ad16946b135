"""The line of waiting instances: who gets what now, and why the rest still waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from gpuyard.domain.errors import InsufficientBalance
from gpuyard.domain.ids import AccountId, InstanceId
from gpuyard.domain.instances import Instance, InstanceState
from gpuyard.domain.offers import Offer, Pool, free_counts
from gpuyard.domain.placing import Placed, WaitReason, place
from gpuyard.ports.store import Tx
from gpuyard.services.capacity import waiting_entry
from gpuyard.services.meters import purses
from gpuyard.services.moves import reserve
from gpuyard.services.yard import Yard

T = TypeVar("T")

NOTES_AT_ONCE = 100
"""Reasons written in one transaction: every order waits behind it for the one writer, so it is short."""


@dataclass(frozen=True, slots=True)
class Served:
    """What one look at the line led to."""

    placed: tuple[Instance, ...]
    still_waiting: int


async def serve(yard: Yard, noted: dict[InstanceId, WaitReason]) -> Served:
    """Look once at the whole line and place whom it can. `noted` remembers across calls what was already written
    down about each, so that an unchanged reason costs no write."""
    offers = yard.offers.all
    line, in_use, funds = await yard.store.read(_look)
    yard.line_positions.clear()
    yard.line_positions.update({instance.id: place_in_line for place_in_line, instance in enumerate(line, 1)})
    if not line:
        noted.clear()
        return Served((), 0)

    entries = [waiting_entry(instance) for instance in line]
    decided = await asyncio.to_thread(place, entries, offers, in_use, funds)  # of a long line it takes a while
    news = [(id_, reason) for id_, reason in decided.reasons.items() if noted.get(id_) != reason]
    placed: list[Instance] = []
    if decided.placed:
        placed = await yard.store.write(lambda tx: _reserve(tx, yard, decided.placed, offers))
    for some in _batched(news, NOTES_AT_ONCE):
        await yard.store.write(lambda tx, some=some: _note(tx, some, yard.clock.now()))  # type: ignore[misc]
    noted.update(news)
    for instance_id in noted.keys() - decided.reasons.keys():
        del noted[instance_id]
    for instance in placed:
        yard.line_positions.pop(instance.id, None)
        yard.hints.wake(instance.id)
        yard.hints.events(instance.account_id).ring()
    return Served(tuple(placed), len(line) - len(placed))


def _look(tx: Tx) -> tuple[Sequence[Instance], Mapping[Pool, int], Mapping[AccountId, int]]:
    line = tx.instances.line()
    return line, tx.allocations.in_use(), purses(tx, (instance.account_id for instance in line))


def _reserve(tx: Tx, yard: Yard, chosen: Sequence[Placed], offers: Sequence[Offer]) -> list[Instance]:
    """What was decided outside is only done where it is still true inside the transaction."""
    now = yard.clock.now()
    free = free_counts(offers, tx.allocations.in_use())
    done: list[Instance] = []
    for placed in chosen:
        instance = tx.instances.get(placed.instance_id)
        if instance is None or instance.state is not InstanceState.WAITING:
            continue
        if any(free.get(pool, 0) < count for pool, count in placed.pools.items()):
            continue
        try:
            done.append(reserve(tx, instance, placed, now, currency=yard.currency))
        except InsufficientBalance:  # it was spent since we looked; the next look passes it over
            continue
        tx.attempts.note(instance.id, at=now, outcome="placed", reason=f"at {placed.provider} in {placed.region}")
        for pool, count in placed.pools.items():
            free[pool] -= count
    return done


def _note(tx: Tx, news: Sequence[tuple[InstanceId, WaitReason]], now: datetime) -> None:
    """Tell those who were passed over why."""
    for instance_id, reason in news:
        tx.attempts.note(instance_id, at=now, outcome=str(reason.code), reason=reason.text)
        waiting = tx.instances.get(instance_id)
        if waiting is not None and waiting.state is InstanceState.WAITING and waiting.state_reason != reason.text:
            tx.instances.save(replace(waiting, state_reason=reason.text))


def _batched(news: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (news[start : start + size] for start in range(0, len(news), size))
