"""Charging from measured intervals, and the limits that end a run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuyard.domain.instances import Limits
from gpuyard.domain.ledger import EntryKind, Reached, UsageInterval, charge, first_limit, hold_amount
from tests.domain.builders import NOW, an_interval

prices = st.integers(1, 10**10)
spans = st.timedeltas(timedelta(), timedelta(days=30))

HOUR = timedelta(hours=1)


def charge_at(interval: UsageInterval, *moments: timedelta) -> tuple[UsageInterval, list[int], list[str]]:
    """Charge at each moment after the start, as a metering pass does; what was charged, and under which keys."""
    amounts: list[int] = []
    keys: list[str] = []
    for moment in moments:
        entry = charge(interval, NOW + moment)
        if entry is not None:
            amounts.append(entry.amount_micro)
            keys.append(entry.idempotency_key)
            interval = replace(interval, charged_micro=interval.charged_micro - entry.amount_micro)
    return interval, amounts, keys


@given(prices, st.lists(spans, max_size=20), spans)
def test_charging_in_pieces_equals_charging_once(price: int, passes: list[timedelta], end: timedelta) -> None:
    before_the_end = sorted(moment for moment in passes if moment < end)
    interval = an_interval(price=price)

    in_pieces, pieces, _ = charge_at(interval, *before_the_end)
    _, last, _ = charge_at(replace(in_pieces, ended_at=NOW + end), end)
    _, once, _ = charge_at(replace(interval, ended_at=NOW + end), end)

    assert sum(pieces) + sum(last) == sum(once)


@given(prices, spans)
def test_a_pass_that_runs_again_before_its_entry_was_noted_writes_the_same_key(price: int, moment: timedelta) -> None:
    interval = an_interval(price=price)

    first, again = charge(interval, NOW + moment), charge(interval, NOW + moment)

    assert first == again


@given(prices, st.lists(spans, min_size=2, max_size=10, unique=True))
def test_different_charges_of_one_interval_have_different_keys(price: int, passes: list[timedelta]) -> None:
    _, _, keys = charge_at(an_interval(price=price), *sorted(passes))

    assert len(set(keys)) == len(keys)


@given(prices, spans, spans)
def test_an_ended_interval_costs_the_same_whenever_it_is_charged(
    price: int, lasted: timedelta, later: timedelta
) -> None:
    interval = an_interval(price=price, lasted=lasted)

    assert interval.cost_until(NOW + lasted + later) == interval.cost_until(NOW + lasted)


def test_what_was_charged_already_is_not_charged_again() -> None:
    interval = an_interval(price=1_000_000, lasted=HOUR, charged=1_000_000)

    assert charge(interval, NOW + 2 * HOUR) is None


def test_a_clock_set_back_charges_nothing_and_gives_nothing_back() -> None:
    interval = an_interval(price=1_000_000, charged=500_000)

    assert charge(interval, NOW + timedelta(minutes=10)) is None


def test_usage_is_what_the_account_pays_at_the_end_of_the_interval() -> None:
    entry = charge(an_interval(price=3_600_000, lasted=timedelta(seconds=10)), NOW + HOUR)

    assert entry is not None
    assert (entry.kind, entry.amount_micro, entry.at) == (EntryKind.USAGE, -10_000, NOW + timedelta(seconds=10))


def reached(limits: Limits, *, spent: int = 0, ran: timedelta = timedelta(), idle: bool = False) -> Reached | None:
    return first_limit(
        limits,
        spent_micro=spent,
        ran_for=ran,
        price_per_hour_micro=1_000_000,
        now=NOW,
        idle_since=NOW - timedelta(minutes=5) if idle else None,
    )


def test_a_run_without_limits_never_ends_by_itself() -> None:
    assert reached(Limits(), spent=10**12, ran=timedelta(days=99), idle=True) is None


@pytest.mark.parametrize(
    ("limits", "limit", "after"),
    [
        (Limits(max_cost_micro=2_500_000), "max_cost", timedelta(hours=1, minutes=30)),
        (Limits(max_cost_micro=400_000), "max_cost", timedelta(minutes=-36)),
        (Limits(max_duration=2 * HOUR), "max_duration", HOUR),
        (Limits(max_idle=timedelta(minutes=15)), "max_idle", timedelta(minutes=10)),
        (Limits(max_cost_micro=10**9, max_duration=3 * HOUR, max_idle=9 * HOUR), "max_duration", 2 * HOUR),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_the_first_limit_to_come_is_foretold_to_the_instant(limits: Limits, limit: str, after: timedelta) -> None:
    found = reached(limits, spent=1_000_000, ran=HOUR, idle=True)

    assert found is not None
    assert (found.limit, found.at) == (limit, NOW + after)
    assert found.text


@given(st.integers(0, 10**10), spans)
def test_a_run_stopped_at_its_cost_limit_has_not_cost_more(ceiling: int, ran: timedelta) -> None:
    interval = an_interval(price=1_000_000)
    spent = interval.cost_until(NOW + ran)

    found = first_limit(
        Limits(max_cost_micro=ceiling),
        spent_micro=spent,
        ran_for=ran,
        price_per_hour_micro=1_000_000,
        now=NOW + ran,
        idle_since=None,
    )

    assert found is not None
    assert interval.cost_until(found.at) <= max(ceiling, spent) + 1  # two roundings down may differ by one millionth


def test_a_hold_covers_an_hour_or_all_the_instance_may_cost() -> None:
    assert hold_amount(900, Limits()) == 900
    assert hold_amount(900, Limits(max_cost_micro=500)) == 500
    assert hold_amount(900, Limits(max_cost_micro=5_000)) == 900
