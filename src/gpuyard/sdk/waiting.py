"""How waiters look again: soon at first, for what is ready at once, then less often."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from gpuyard.sdk.errors import InstanceFailed, TimedOut

if TYPE_CHECKING:
    from gpuyard.wire.instances import InstanceView

_FIRST_SECONDS = 0.02
_MOST_SECONDS = 1.0
_GROWTH = 1.4

UNREACHABLE_SECONDS = 60.0
"""How long a waiter bears with a yard that does not answer: a restart of the server is no reason to give up."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a waiter saw last; told whenever it looked."""

    state: str
    reason: str
    line_position: int | None
    """1 is next; None when it is not in line."""
    elapsed: timedelta


OnProgress = Callable[[Progress], object]

FINAL = frozenset({"deleted", "failed"})
_LEADS_NOWHERE = {
    "running": FINAL | {"stopping", "stopped", "deleting"},
    "stopped": FINAL | {"deleting"},
    "deleted": frozenset[str](),
}
"""States from which the awaited one is not reached without somebody asking for it."""


def pauses() -> Iterator[float]:
    pause = _FIRST_SECONDS
    while True:
        yield pause
        pause = min(pause * _GROWTH, _MOST_SECONDS)


def arrived(view: InstanceView, wanted: Collection[str]) -> bool:
    """Whether it is in one of the wanted states. Raises InstanceFailed when it will not get there by itself."""
    if view.state in wanted:
        return True
    if all(view.state in _LEADS_NOWHERE.get(state, FINAL) for state in wanted):
        why = f": {view.state_reason}" if view.state_reason else ""
        raise InstanceFailed(
            f"instance {view.name} is {view.state}{why}",
            hint=f"`gpuyard instances show {view.short_id}` tells the story",
            details={"state": str(view.state), "reason": view.state_reason, "instance_id": view.id},
        )
    return False


def gave_up(view: InstanceView, wanted: Collection[str], timeout: float) -> TimedOut:
    why = f": {view.state_reason}" if view.state_reason else ""
    return TimedOut(
        f"instance {view.name} is still {view.state} after {timeout:g} s{why}",
        hint=f"waited for {' or '.join(sorted(wanted))}; it is still there: wait longer, or delete it",
        details={"state": str(view.state), "instance_id": view.id},
    )
