"""Every error has a line, a hint and an exit status; the tables have no holes."""

from __future__ import annotations

import pytest
import typer

from gpuyard.cli.failures import BY_CODE, HINTS, MEANING, CliError, ExitStatus, failure_of
from gpuyard.domain.errors import error_classes
from gpuyard.sdk.errors import BY_CODE as SDK_CODES
from gpuyard.sdk.errors import NoCapacity, UnknownGpu


def test_every_code_of_the_yard_has_an_exit_status() -> None:
    assert {cls.code for cls in error_classes()} <= set(BY_CODE)


def test_every_code_of_the_sdk_has_an_exit_status() -> None:
    assert set(SDK_CODES) <= set(BY_CODE)


def test_no_code_is_in_the_table_that_nobody_raises() -> None:
    assert set(BY_CODE) == set(SDK_CODES)


def test_every_code_has_a_hint_for_when_the_yard_gives_none() -> None:
    assert set(HINTS) == set(BY_CODE)


def test_every_exit_status_is_explained() -> None:
    assert set(MEANING) == set(ExitStatus)


def test_no_exit_status_is_one_that_shells_or_the_system_use_for_something_else() -> None:
    own = {status for status in ExitStatus if status not in (ExitStatus.OK, ExitStatus.UNWELL)}

    assert all(64 <= status <= 80 or 128 < status < 160 for status in own)


def test_the_yards_own_hint_is_preferred_to_ours() -> None:
    failure = failure_of(UnknownGpu("no GPU type 'rtx-4080' is known", hint="did you mean nvidia-rtx-4090?"))

    assert failure.hint == "did you mean nvidia-rtx-4090?"
    assert failure.status is ExitStatus.USAGE


def test_an_error_without_a_hint_gets_one() -> None:
    assert failure_of(NoCapacity("2× a100 is not free now")).hint


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_an_error_of_any_code_is_shown_with_its_status(code: str) -> None:
    error = SDK_CODES[code].__new__(SDK_CODES[code])
    Exception.__init__(error, "it happened")
    error.message, error.hint, error.field, error.details = "it happened", None, None, {}
    error.retry_after = error.request_id = error.status = None

    failure = failure_of(error)

    assert (failure.message, failure.code, failure.status) == ("it happened", code, BY_CODE[code])


def test_what_nobody_foresaw_is_a_bug_and_asks_to_be_reported() -> None:
    failure = failure_of(ZeroDivisionError("division by zero"))

    assert failure.status is ExitStatus.BUG
    assert "GPUYARD_DEBUG=1" in (failure.hint or "")


def test_a_wrong_option_points_to_the_help() -> None:
    failure = failure_of(typer.BadParameter("it is no number"))

    assert failure.status is ExitStatus.USAGE
    assert "--help" in (failure.hint or "")


def test_json_of_an_error_has_code_message_hint_and_exit_status() -> None:
    failure = failure_of(CliError("a line", hint="a hint", status=ExitStatus.CONFLICT, code="taken"))

    assert failure.as_json() == {"error": {"code": "taken", "message": "a line", "hint": "a hint", "exit_status": 80}}
