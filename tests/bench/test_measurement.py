"""The harness measures in turn and judges by medians."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from bench import report
from bench.measurement import Aim, Better, Contender, Figures, Measurement, Outcome, measure

AT = datetime(2026, 3, 1, tzinfo=UTC)


def a_measurement(aim: Aim | None = None, better: Better = Better.LESS, log: list[str] | None = None) -> Measurement:
    calls: list[str] = [] if log is None else log

    def contender(name: str) -> Contender:
        async def measured() -> float:
            calls.append(name)
            return float(len(calls))

        return measured

    @asynccontextmanager
    async def contenders() -> AsyncIterator[Mapping[str, Contender]]:
        yield {"subject": contender("subject"), "peer": contender("peer")}

    return Measurement("thing", "s", better, contenders, aim)


def an_outcome(
    subject: tuple[float, ...], peer: tuple[float, ...], aim: Aim | None, better: Better = Better.LESS
) -> Outcome:
    return Outcome(a_measurement(aim, better), {"subject": Figures(subject), "peer": Figures(peer)})


async def test_subject_and_peer_are_measured_in_turn_and_the_turn_changes() -> None:
    log: list[str] = []

    outcome = await measure(a_measurement(log=log), rounds=3)

    assert log == ["subject", "peer", "peer", "subject", "subject", "peer"]
    assert outcome.figures["subject"].values == (1.0, 4.0, 5.0)


@pytest.mark.parametrize(
    ("better", "median", "reached"),
    [(Better.LESS, 1.9, True), (Better.LESS, 2.0, False), (Better.MORE, 2.0, True), (Better.MORE, 1.9, False)],
)
def test_an_aim_is_a_bound_for_the_median(better: Better, median: float, reached: bool) -> None:
    outcome = an_outcome((0.0, median, 100.0), (1.0,), Aim(2.0), better)

    assert outcome.reached() is reached


@pytest.mark.parametrize(("peer", "reached"), [(10.0, True), (9.0, False)])
def test_an_aim_beside_a_peer_is_a_bound_for_the_ratio_to_it(peer: float, reached: bool) -> None:
    outcome = an_outcome((10.0,), (peer,), Aim(1.1, beside="peer"))

    assert outcome.reached() is reached


def test_a_missed_aim_is_not_hidden() -> None:
    outcome = an_outcome((3.0,), (1.0,), Aim(2.0))

    for text in (report.terminal([outcome]), report.markdown([outcome], AT)):
        assert "< 2 s MISSED" in text


def test_what_could_not_be_measured_is_shown_with_the_reason() -> None:
    outcome = Outcome(a_measurement(Aim(2.0)), problem="no such program")

    assert "no such program" in report.terminal([outcome])
    assert outcome.reached() is None
