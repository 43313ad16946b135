"""What a measurement is: contenders that are measured in turn, round after round, so that noise meets them all."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum

Contender = Callable[[], Awaitable[float]]
"""Does the thing once and answers its figure."""


class Better(StrEnum):
    LESS = "less"
    MORE = "more"


@dataclass(frozen=True)
class Aim:
    """What we build for: a bound for the subject's median, or for its ratio to one peer's median."""

    bound: float
    beside: str | None = None

    def words(self, better: Better, unit: str) -> str:
        sign = "<" if better is Better.LESS else "≥"
        return f"{sign} {self.bound:g}× {self.beside}" if self.beside else f"{sign} {self.bound:g} {unit}"


@dataclass(frozen=True)
class Measurement:
    name: str
    unit: str
    better: Better
    contenders: Callable[[], AbstractAsyncContextManager[Mapping[str, Contender]]]
    """The subject comes first; the others are its peers. What they need lives as long as the context."""
    aim: Aim | None = None
    rounds: int = 5
    note: str = ""


@dataclass(frozen=True)
class Figures:
    """What one contender measured, over all rounds."""

    values: tuple[float, ...]

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def most(self) -> float:
        return max(self.values)


@dataclass(frozen=True)
class Outcome:
    measurement: Measurement
    figures: Mapping[str, Figures] = field(default_factory=dict)
    problem: str = ""
    """Why there are no figures, where there are none."""

    @property
    def subject(self) -> str:
        return next(iter(self.figures), "")

    def ratio(self, peer: str) -> float:
        """The subject's median for each of the peer's."""
        return self.figures[self.subject].median / self.figures[peer].median

    def reached(self) -> bool | None:
        """Whether the aim is met; None where there is no aim or nothing to compare."""
        aim = self.measurement.aim
        if aim is None or not self.figures or (aim.beside is not None and aim.beside not in self.figures):
            return None
        value = self.ratio(aim.beside) if aim.beside else self.figures[self.subject].median
        return value < aim.bound if self.measurement.better is Better.LESS else value >= aim.bound


def order_in(number: int, contenders: Mapping[str, Contender]) -> list[str]:
    """Forth in one round, back in the next, so that none always has the colder machine."""
    names = list(contenders)
    return names if number % 2 == 0 else names[::-1]


async def measure(measurement: Measurement, *, rounds: int | None = None) -> Outcome:
    """Every contender once per round."""
    values: dict[str, list[float]] = {}
    async with measurement.contenders() as contenders:
        for number in range(rounds or measurement.rounds):
            for name in order_in(number, contenders):
                values.setdefault(name, []).append(await contenders[name]())
        return Outcome(measurement, {name: Figures(tuple(values[name])) for name in contenders})
