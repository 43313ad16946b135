"""Why an instance is in its state, and what it used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gpuyard.domain.accounts import Caller, Scope
from gpuyard.domain.events import Attempt, Event
from gpuyard.domain.instances import Instance, InstanceState
from gpuyard.domain.ledger import UsageInterval
from gpuyard.ports.store import Tx
from gpuyard.services.instances import find
from gpuyard.services.yard import Yard

EVENTS_AT_ONCE = 1000

_PHASES: Mapping[InstanceState, str] = {
    InstanceState.WAITING: "wait",
    InstanceState.REQUESTED: "start",
    InstanceState.PROVISIONING: "start",
    InstanceState.STARTING: "start",
}
"""Which phase a state belongs to; the time of running is measured by its intervals."""


@dataclass(frozen=True, slots=True)
class Why:
    instance: Instance
    line_position: int | None
    attempts: Sequence[Attempt]


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time went. None for a phase that has not begun."""

    wait: timedelta | None
    """In line, until it was placed; every time it was."""
    start: timedelta | None
    """From placed to running, all tries and starts together."""
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
        timings = timings_from(instance, intervals, _events(tx, instance), now)
        return InstanceUsage(instance, intervals, timings, sum(i.cost_until(now) for i in intervals), now)

    return await yard.store.read(look)


def timings_from(
    instance: Instance, intervals: Sequence[UsageInterval], events: Iterable[Event], now: datetime
) -> Timings:
    """Read the phases off what was recorded when they changed; the one it is in lasts until `now`."""
    spent: dict[str, timedelta] = {}
    phase: str | None = "wait"
    since = instance.created_at
    for state, at in [*_states(events), (None, now)]:
        if phase is not None:
            spent[phase] = spent.get(phase, timedelta()) + max(at - since, timedelta())
        phase, since = _PHASES.get(state) if state is not None else None, at
    run = sum((interval.lasted_until(now) for interval in intervals), timedelta())
    return Timings(spent.get("wait"), spent.get("start"), run)


def _states(events: Iterable[Event]) -> list[tuple[InstanceState, datetime]]:
    return [(InstanceState(event.data["state"]), event.at) for event in events]


def _events(tx: Tx, instance: Instance) -> Iterator[Event]:
    """All of them: one that lived long and was changed often has more than fit in one page."""
    seq = 0
    while page := tx.events.after(instance.account_id, seq, limit=EVENTS_AT_ONCE, subject=instance.id):
        yield from page
        seq = page[-1].seq
