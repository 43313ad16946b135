"""A state machine as one table that can be asked about as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from gpuyard.domain.errors import IllegalMove

State = TypeVar("State", bound=StrEnum)
Event = TypeVar("Event", bound=StrEnum)


@dataclass(frozen=True)
class Lifecycle(Generic[State, Event]):
    """Every legal move is an entry of `arrows`; nothing else assigns a state."""

    noun: str
    start: State
    arrows: Mapping[tuple[State, Event], State]

    def next(self, state: State, event: Event) -> State:
        """The state after `event`. Raises IllegalMove, naming what is possible instead."""
        try:
            return self.arrows[state, event]
        except KeyError:
            possible = ", ".join(sorted(self.events_from(state))) or "nothing"
            raise IllegalMove(
                f"cannot {event.replace('_', ' ')} while the {self.noun} is {state.replace('_', ' ')}",
                hint=f"from here: {possible}",
                details={"state": str(state), "event": str(event)},
            ) from None

    def allows(self, state: State, event: Event) -> bool:
        return (state, event) in self.arrows

    def events_from(self, state: State) -> set[Event]:
        return {event for (source, event) in self.arrows if source == state}

    def reachable(self) -> set[State]:
        """Every state some chain of events leads to, the first included."""
        seen = {self.start}
        todo = [self.start]
        while todo:
            here = todo.pop()
            for (source, _), target in self.arrows.items():
                if source == here and target not in seen:
                    seen.add(target)
                    todo.append(target)
        return seen
