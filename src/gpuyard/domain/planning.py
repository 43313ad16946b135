"""What to do about one instance, given what was wanted and what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from gpuyard.domain.instances import PATIENCE, Instance, InstanceEvent, InstanceState
from gpuyard.domain.sightings import Presence, Sighting


class Ask(StrEnum):
    """What a provider can be asked for; each may be asked twice without harm."""

    ORDER = "order"
    START = "start"
    STOP = "stop"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Plan:
    """At most one ask and one event, then look again after `again_in` (None: only when woken)."""

    ask: Ask | None = None
    record: InstanceEvent | None = None
    reason: str = ""
    capacity_returned: bool = False
    """Nothing of it occupies GPUs any more: what it had reserved is free."""
    gone: bool = False
    """The provider has nothing of it and we will never ask for it again: no more sweeping."""
    again_in: timedelta | None = None


_AT_ONCE = timedelta()
_SOON = timedelta(milliseconds=20)
_LATER = timedelta(seconds=2)
_WATCH = timedelta(seconds=5)
_GLANCE = timedelta(minutes=5)

S, E, P = InstanceState, InstanceEvent, Presence

NEEDS_NO_SIGHTING = frozenset({S.WAITING, S.DELETED})
"""States in which no provider has anything to report."""


_ARRIVED: Mapping[InstanceState, frozenset[Presence]] = {
    S.REQUESTED: frozenset(P) - {P.ABSENT},
    S.PROVISIONING: frozenset({P.RUNNING}),
    S.STARTING: frozenset({P.RUNNING}),
}
"""What ends a passing state well. Seen late, it still counts: nobody gives up on what has come true."""


def plan(instance: Instance, seen: Sighting, now: datetime, *, looking_since: datetime | None = None) -> Plan:
    """Total over every state and presence; trusts the sighting, not the answer to the last request.

    Time before `looking_since` tries no patience: a yard that was away has asked for nothing meanwhile.
    """
    waited = now - instance.entered_at
    patience = PATIENCE.get(instance.state)
    tried = now - max(instance.entered_at, looking_since or instance.entered_at)
    if patience is not None and tried >= patience and seen.presence not in _ARRIVED[instance.state]:
        limit = f"{patience.total_seconds() / 60:.0f} minutes"
        return Plan(record=E.GAVE_UP, reason=f"still {instance.state} after {limit}", again_in=_AT_ONCE)

    match instance.state, seen.presence:
        case ((S.WAITING | S.DELETED), _):
            return Plan()

        case S.REQUESTED, P.ABSENT:
            return Plan(ask=Ask.ORDER, again_in=_AT_ONCE)
        case S.REQUESTED, _:  # the answer to our order was lost; the machine was not
            return Plan(record=E.ORDERED, again_in=_AT_ONCE)

        case S.PROVISIONING, P.RUNNING:
            return Plan(record=E.READY, again_in=_WATCH)
        case S.PROVISIONING, P.ABSENT:
            return Plan(record=E.VANISHED, reason=seen.reason or "it vanished while it was prepared", again_in=_AT_ONCE)
        case S.PROVISIONING, (P.FAILED | P.STOPPED | P.STOPPING):
            return Plan(record=E.REFUSED, reason=seen.reason or "the provider could not start it", again_in=_AT_ONCE)
        case S.PROVISIONING, P.PENDING:
            return Plan(again_in=_backing_off(waited))

        case S.STARTING, P.RUNNING:
            return Plan(record=E.READY, again_in=_WATCH)
        case S.STARTING, P.STOPPED:
            return Plan(ask=Ask.START, again_in=_backing_off(waited))
        case S.STARTING, P.ABSENT:
            return Plan(record=E.VANISHED, reason=seen.reason or "its disk is gone", again_in=_AT_ONCE)
        case S.STARTING, P.FAILED:
            return Plan(record=E.REFUSED, reason=seen.reason or "the provider could not start it", again_in=_AT_ONCE)
        case S.STARTING, (P.PENDING | P.STOPPING):
            return Plan(again_in=_backing_off(waited))

        case S.RUNNING, P.RUNNING:
            return Plan(again_in=_WATCH)
        case S.RUNNING, P.PENDING:  # its resident is silent for now; the machine is still ours and still paid
            return Plan(again_in=_LATER)
        case S.RUNNING, (P.FAILED | P.STOPPED | P.STOPPING) if instance.has_disk:  # the files can still be saved
            return Plan(record=E.STOP, reason=seen.reason or "it ended by itself", again_in=_AT_ONCE)
        case S.RUNNING, _:
            return Plan(record=E.VANISHED, reason=seen.reason or "it ended by itself", again_in=_AT_ONCE)

        case S.STOPPING, P.STOPPED:
            return Plan(record=E.HALTED, capacity_returned=True, again_in=_GLANCE)
        case S.STOPPING, P.ABSENT:
            return Plan(record=E.VANISHED, reason="its disk is gone", again_in=_AT_ONCE)
        case S.STOPPING, _:
            return Plan(ask=Ask.STOP, again_in=_backing_off(waited))

        case S.STOPPED, P.STOPPED:
            return Plan(capacity_returned=True, again_in=_GLANCE)
        case S.STOPPED, P.ABSENT:
            return Plan(record=E.VANISHED, reason="its disk is gone", again_in=_AT_ONCE)
        case S.STOPPED, _:  # it came back by itself, at the owner's cost
            return Plan(ask=Ask.STOP, again_in=_LATER)

        case S.DELETING, P.ABSENT:
            return Plan(record=E.RELEASED, capacity_returned=True, gone=True)
        case S.FAILED, P.ABSENT:
            return Plan(capacity_returned=True, gone=True)
        case ((S.DELETING | S.FAILED), _):
            return Plan(ask=Ask.RELEASE, again_in=_backing_off(waited))
    raise AssertionError(f"no plan for {instance.state} and {seen.presence}")


def _backing_off(waited: timedelta) -> timedelta:
    """Look often at first, since a warm machine is ready in a blink, and ever less often after that."""
    return min(max(waited / 5, _SOON), _LATER)
