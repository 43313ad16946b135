"""A signal ends the work, once; what follows the work is never ended by one."""

from __future__ import annotations

import os
import signal

import pytest

from gpuyard.cli.failures import ExitStatus
from gpuyard.cli.interruptions import STATUS, Interrupted, Interruptions


def press(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def quietly() -> None:
    pass


@pytest.mark.parametrize("number", list(STATUS))
def test_the_first_signal_ends_the_work_and_gives_the_exit_status(number: signal.Signals) -> None:
    with Interruptions(quietly), pytest.raises(Interrupted) as interrupted:
        press(number)

    assert interrupted.value.status is STATUS[number]


def test_later_signals_are_told_about_and_ignored() -> None:
    told: list[str] = []

    with Interruptions(lambda: told.append("again")):
        with pytest.raises(Interrupted):
            press()
        press()
        press(signal.SIGTERM)

    assert told == ["again", "again"]


def test_after_hold_no_signal_is_raised() -> None:
    with Interruptions(quietly) as interruptions:
        interruptions.hold()
        press()
        press()


def test_a_signal_while_an_answer_is_awaited_is_raised_after_it() -> None:
    steps: list[str] = []

    with Interruptions(quietly) as interruptions, pytest.raises(Interrupted), interruptions.deferred():
        press()
        steps.append("the answer came")

    assert steps == ["the answer came"]


def test_a_second_signal_does_not_wait_for_the_answer() -> None:
    steps: list[str] = []

    with Interruptions(quietly) as interruptions, pytest.raises(Interrupted), interruptions.deferred():
        press()
        press()
        steps.append("the answer came")

    assert steps == []


def test_an_order_that_fails_under_a_deferred_signal_says_why_it_failed() -> None:
    with Interruptions(quietly) as interruptions, pytest.raises(RuntimeError), interruptions.deferred():
        press()
        raise RuntimeError("no capacity")


def test_what_was_ignored_before_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruptions(quietly):
            press(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_handlers_from_before_come_back() -> None:
    before = [signal.getsignal(number) for number in STATUS]

    with Interruptions(quietly):
        pass

    assert [signal.getsignal(number) for number in STATUS] == before


def test_an_interruption_passes_by_whoever_catches_ordinary_errors() -> None:
    assert not issubclass(Interrupted, Exception)
    assert Interrupted(signal.SIGTERM).status is ExitStatus.TERMINATED
