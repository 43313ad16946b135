"""What people type becomes what is meant, or an error that says how to write it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuyard.cli.amounts import parse_duration, parse_gpus, parse_pairs, show_age, show_bytes, show_seconds
from gpuyard.cli.failures import CliError, ExitStatus


@pytest.mark.parametrize(
    ("texts", "gpus"),
    [
        (["rtx-4090"], [("rtx-4090", 1)]),
        (["rtx-4090:2"], [("rtx-4090", 2)]),
        (["rtx-4090:2,a100"], [("rtx-4090", 2), ("a100", 1)]),
        (["rtx-4090", "a100:4"], [("rtx-4090", 1), ("a100", 4)]),
        ([" A100 40GB : 2 "], [("A100 40GB", 2)]),
        ([], []),
    ],
)
def test_a_gpu_list_names_types_and_counts(texts: list[str], gpus: list[tuple[str, int]]) -> None:
    assert parse_gpus(texts) == gpus


@pytest.mark.parametrize("text", ["", ",", "a100:", "a100:0", "a100:-1", "a100:two", ":2", "a100,,l4", "a100:1:2"])
def test_a_gpu_list_that_makes_no_sense_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(CliError) as refused:
        parse_gpus([text])

    assert refused.value.status is ExitStatus.USAGE
    assert "TYPE:COUNT" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1d 2h", 93600),
        ("1.5H", 5400),
    ],
)
def test_a_duration_is_read_in_any_usual_spelling(text: str, seconds: float) -> None:
    assert parse_duration(text, "--max-duration") == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "0", "0s", "5x", "m", "30m1h", "nan", "inf"])
def test_a_duration_that_is_none_is_refused_and_the_option_named(text: str) -> None:
    with pytest.raises(CliError) as refused:
        parse_duration(text, "--max-duration")

    assert "--max-duration" in refused.value.message


def test_labels_are_name_value_pairs_and_values_may_hold_equals_signs() -> None:
    assert parse_pairs(["team=vision", "query=a=b", "empty="], "--label") == {
        "team": "vision",
        "query": "a=b",
        "empty": "",
    }


@pytest.mark.parametrize("text", ["team", "=vision", ""])
def test_a_label_without_name_or_equals_sign_is_refused(text: str) -> None:
    with pytest.raises(CliError, match="NAME=VALUE"):
        parse_pairs([text], "--label")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (0.04, "0.0 s"),
        (12.34, "12.3 s"),
        (59.96, "1m 00s"),
        (65, "1m 05s"),
        (7380, "2h 03m"),
        (273600, "3d 04h"),
    ],
)
def test_a_span_of_time_is_shown_in_its_two_largest_units(seconds: float | None, shown: str) -> None:
    assert show_seconds(seconds) == shown


@given(st.floats(min_value=0, max_value=10**9))
def test_any_span_of_time_can_be_shown(seconds: float) -> None:
    assert show_seconds(seconds)


def test_sizes_are_shown_in_binary_units() -> None:
    assert [show_bytes(n) for n in (0, 1023, 1024, 1536 * 1024, 5 * 1024**4)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 MiB",
        "5.0 TiB",
    ]


def test_an_age_is_shown_in_its_largest_unit() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)

    shown = [show_age(now - timedelta(seconds=s), now) for s in (0, 59, 60, 7199, 86400 * 3)]

    assert shown == ["0s", "59s", "1m", "1h", "3d"]
