"""Why an instance is in its state, and what it used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gpuyard.domain.accounts import Caller, Scope
from gpuyard.domain.events import Attempt, Event
from gpuyard.domain.instances import Instance, InstanceState
from gpuyard.domain.ledger import UsageInterval
from gpuyard.ports.store import Tx
from gpuyard.services.instances import find
from gpuyard.services.yard import Yard


@dataclass(frozen=True, slots=True)
class Why:
    instance: Instance
    line_position: int | None
    attempts: Sequence[Attempt]


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time went. None for a phase that has not begun."""

    wait: timedelta | None
    """In line, until it was placed."""
    start: timedelta | None
    """From placed to running, all starts together."""
    run: timedelta


@dataclass(frozen=True, slots=True)
class InstanceUsage:
    instance: Instance
    intervals: Sequence[UsageInterval]
    timings: Timings
    cost_micro: int
    now: datetime


async def why(yard: Yard, caller: Caller, ref: str) -> Why:
    caller.must(Scope.READ)

    def look(tx: Tx) -> Why:
        instance = find(tx, caller, ref)
        position = None
        if instance.state is InstanceState.WAITING:
            line = [other.id for other in tx.instances.line()]
            position = line.index(instance.id) + 1
        return Why(instance, position, tx.attempts.of(instance.id))

    return await yard.store.read(look)


async def usage(yard: Yard, caller: Caller, ref: str) -> InstanceUsage:
    """What it used and cost up to now, charged or not yet."""
    caller.must(Scope.READ)
    now = yard.clock.now()

    def look(tx: Tx) -> InstanceUsage:
        instance = find(tx, caller, ref)
        intervals = tx.ledger.intervals(instance.id)
        events = tx.events.after(instance.account_id, 0, limit=1000, subject=instance.id)
        timings = timings_from(instance, intervals, events, now)
        return InstanceUsage(instance, intervals, timings, sum(i.cost_until(now) for i in intervals), now)

    return await yard.store.read(look)


def timings_from(
    instance: Instance, intervals: Sequence[UsageInterval], events: Sequence[Event], now: datetime
) -> Timings:
    """Read the phases off what was recorded when they changed."""
    wait: timedelta | None = None
    start: timedelta | None = None
    waiting_since: datetime | None = instance.created_at
    starting_since: datetime | None = None
    for event in events:
        state = event.data.get("state")
        if event.data.get("event") in ("created", "changed"):
            continue
        if state in (InstanceState.REQUESTED, InstanceState.STARTING) and waiting_since is not None:
            wait = (wait or timedelta()) + (event.at - waiting_since)
            waiting_since = None
        if state in (InstanceState.REQUESTED, InstanceState.STARTING) and starting_since is None:
            starting_since = event.at
        elif state == InstanceState.WAITING:
            waiting_since, starting_since = event.at, None
        elif state not in (InstanceState.REQUESTED, InstanceState.STARTING, InstanceState.PROVISIONING):
            if state == InstanceState.RUNNING and starting_since is not None:
                start = (start or timedelta()) + (event.at - starting_since)
            waiting_since, starting_since = None, None
    if waiting_since is not None and instance.state is InstanceState.WAITING:
        wait = (wait or timedelta()) + (now - waiting_since)
    run = sum((interval.lasted_until(now) for interval in intervals), timedelta())
    return Timings(wait, start, run)
