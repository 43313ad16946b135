"""Whenever `gpuyard run` is interrupted, and however often, no instance is left behind."""

from __future__ import annotations

import random
import signal

import pytest

from tests.cli.conftest import Seat, select_nothing

GPU = ("--gpu", "nvidia-rtx-4090")
BIG_MIB = 400


def test_while_it_waits_in_line(seat: Seat) -> None:
    seat.good("instances", "create", "--gpu", "nvidia-rtx-3090", "--name", "holder")
    run = seat.start("run", "--gpu", "nvidia-rtx-3090", "--", "true")
    run.says("waits in line")

    run.press()

    assert run.ends() == 130
    assert seat.instances() == ["holder"]


def test_while_it_starts(seat: Seat) -> None:
    run = seat.start("run", *GPU, "--", "sleep", "600")
    run.says("ordered")

    run.press()

    assert run.ends() == 130
    assert seat.instances() == []


def test_while_it_uploads(seat: Seat) -> None:
    with (seat.cwd / "big.bin").open("wb") as big:
        big.truncate(BIG_MIB * 1024 * 1024)
    run = seat.start("run", *GPU, "--upload", "big.bin", "--", "sleep", "600")
    run.says("uploading big.bin")

    run.press()

    assert run.ends() == 130
    assert seat.instances() == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_while_the_script_runs(seat: Seat, number: signal.Signals, status: int) -> None:
    run = seat.start("run", *GPU, "--", "bash", "-c", "echo it runs; sleep 600")
    run.says("it runs")

    run.press(number)

    assert run.ends() == status
    assert seat.instances() == []


def test_while_it_downloads(seat: Seat) -> None:
    run = seat.start("run", *GPU, "--out", "big.bin", "--", "truncate", "-s", f"{BIG_MIB}M", "big.bin")
    run.says("downloading big.bin")

    run.press()

    assert run.ends() == 130
    assert seat.instances() == []
    assert [path.name for path in seat.cwd.iterdir() if "big" in path.name] == []


def test_while_it_is_given_back(seat: Seat) -> None:
    run = seat.start("run", *GPU, "--", "true")
    run.says("giving")

    run.press()
    run.press()

    assert run.ends() == 0
    assert seat.instances() == []


def test_pressed_again_and_again(seat: Seat) -> None:
    run = seat.start("run", *GPU, "--", "bash", "-c", "trap '' INT TERM; echo it runs; sleep 600")
    run.says("it runs")

    for _ in range(20):
        run.press()
        select_nothing(0.01)

    assert run.ends() == 130
    assert seat.instances() == []


def test_at_any_moment_whatever(seat: Seat) -> None:
    chance = random.Random(7)

    for _ in range(8):
        run = seat.start("run", *GPU, "--out", "x", "--", "bash", "-c", "echo 1 > x; sleep 0.2")
        select_nothing(chance.uniform(0.2, 2.5))
        run.press(chance.choice([signal.SIGINT, signal.SIGTERM]))

        # before the program listens to signals at all, the system ends it: nothing was ordered then
        assert run.ends() in (0, 130, 143, -signal.SIGINT, -signal.SIGTERM), run.text
        assert seat.instances() == [], run.text


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_while_it_starts_a_yard(newcomer: Seat, number: signal.Signals, status: int) -> None:
    run = newcomer.start("run", *GPU, "--", "sleep", "600")
    run.says("starting one on this machine")

    run.press(number)

    assert run.ends() == status
    assert not (newcomer.home / "data" / "server.json").exists() or newcomer.instances() == []


def test_what_was_kept_on_purpose_is_kept_and_its_script_interrupted(seat: Seat) -> None:
    run = seat.start("run", *GPU, "--keep", "--name", "kept", "--", "bash", "-c", "echo it runs; exec sleep 600")
    run.says("it runs")

    run.press()

    assert run.ends() == 130
    assert seat.instances() == ["kept"]
    ended = seat.gpuyard("instances", "logs", "kept", "--follow")
    assert ended.status == 130


def test_a_scripts_failure_before_it_starts_leaves_nothing_either(seat: Seat) -> None:
    ran = seat.gpuyard("run", *GPU, "--", "no-such-program-anywhere")

    assert ran.status in (126, 127)
    assert seat.instances() == []


def test_names_are_free_again_afterwards(seat: Seat) -> None:
    for _ in range(2):
        assert seat.gpuyard("run", *GPU, "--name", "again", "--", "true").status == 0
