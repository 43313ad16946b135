"""Amounts are exact, and time is never charged twice or charged unused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gpuyard.domain.errors import Invalid
from gpuyard.domain.money import cost_micro, lasts_for, parse_micro, show_micro

prices = st.integers(0, 10**10)
CENTURY = timedelta(days=36_525)
durations = st.timedeltas(timedelta(), timedelta(days=3650))


def test_an_hour_costs_the_price_of_an_hour() -> None:
    assert cost_micro(1_250_000, timedelta(hours=1)) == 1_250_000


@given(prices, durations)
def test_no_more_is_charged_than_the_exact_cost_and_less_than_a_millionth_is_given_away(
    price: int, duration: timedelta
) -> None:
    exact_times_hour = price * (duration // timedelta(microseconds=1))

    assert 0 <= exact_times_hour - cost_micro(price, duration) * 3_600_000_000 < 3_600_000_000


def test_time_that_runs_backwards_costs_nothing() -> None:
    assert cost_micro(10**9, timedelta(seconds=-5)) == 0


@given(st.integers(1, 10**10), st.integers(0, 10**12))
def test_a_budget_is_not_passed_while_it_lasts(price: int, budget: int) -> None:
    lasts = lasts_for(price, budget)

    assert cost_micro(price, CENTURY if lasts is None else lasts) <= budget


@given(st.integers(1, 10**10), st.integers(0, 10**12))
def test_a_budget_is_used_up_a_moment_after_it_lasts_no_more(price: int, budget: int) -> None:
    lasts = lasts_for(price, budget)

    assume(lasts is not None)
    assert lasts is not None
    owed_times_hour = price * ((lasts + timedelta(microseconds=1)) // timedelta(microseconds=1))
    assert owed_times_hour > budget * 3_600_000_000


@pytest.mark.parametrize(("price", "budget"), [(0, 1), (0, 0), (1, 10**15)])
def test_what_costs_next_to_nothing_lasts_for_ever(price: int, budget: int) -> None:
    assert lasts_for(price, budget) is None


@given(st.integers(0, 10**15))
def test_an_amount_written_out_reads_back_the_same(micro: int) -> None:
    text = show_micro(micro, "EUR", places=6)

    assert parse_micro(text.removesuffix(" EUR"), field="amount") == micro


@pytest.mark.parametrize("text", ["-1", "0.0000001", "NaN", "Infinity", "five", "", "1,25"])
def test_what_is_no_possible_amount_is_refused_by_the_name_of_its_field(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_micro(text, field="max_cost")

    assert refused.value.field == "max_cost"
    assert repr(text) in refused.value.message
    assert refused.value.hint


def test_amounts_are_shown_rounded_to_the_nearest() -> None:
    assert show_micro(1_999_950, "EUR", places=2) == "2.00 EUR"
    assert show_micro(5_000, "EUR", places=2) == "0.01 EUR"
