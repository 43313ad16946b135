"""In a terminal: tables that fit, progress, a shell of the instance's, and the terminal restored."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Seat
from tests.cli.terminals import in_terminal

GPU = ("--gpu", "nvidia-rtx-4090")


@pytest.mark.parametrize("columns", [40, 60, 100])
def test_tables_fit_the_terminals_width(seat: Seat, columns: int) -> None:
    with in_terminal(seat, "offers", columns=columns) as terminal:
        terminal.ends()

    assert max(len(line) for line in terminal.shown.splitlines()) <= columns


def test_a_narrow_table_shortens_names_but_not_prices(seat: Seat) -> None:
    with in_terminal(seat, "offers", columns=70) as terminal:
        terminal.ends()

    assert "…" in terminal.shown
    assert "0.2000 EUR" in terminal.shown


def test_piped_tables_are_tab_separated_with_nothing_cut(seat: Seat) -> None:
    seat.extra["COLUMNS"] = "20"

    lines = seat.good("offers").out.splitlines()

    assert lines[0].split("\t")[0] == "GPU"
    assert "nvidia-rtx-3090\tNVIDIA GeForce RTX 3090\t24 GB\t1/1\t0.2000 EUR" in "\n".join(lines)


def test_errors_are_red_unless_no_color_is_set(seat: Seat) -> None:
    with in_terminal(seat, "frobnicate") as plain:
        plain.ends()
    seat.extra["NO_COLOR"] = ""
    with in_terminal(seat, "frobnicate") as coloured:
        coloured.ends()

    assert b"\x1b[1;31m" in coloured.raw
    assert b"31m" not in plain.raw


def test_a_run_shows_a_spinner_and_leaves_the_scripts_output_alone(seat: Seat) -> None:
    with in_terminal(seat, "run", *GPU, "--", "echo", "spoken by the script") as terminal:
        status = terminal.ends()

    assert status == 0
    assert "spoken by the script\n" in terminal.shown
    assert "giving compute-gpu-" in terminal.shown
    assert terminal.raw.rstrip().endswith(b"EUR")


def test_ctrl_c_typed_while_waiting_in_line_gives_the_place_up(seat: Seat) -> None:
    seat.good("instances", "create", "--gpu", "nvidia-rtx-3090", "--name", "holder")

    with in_terminal(seat, "run", "--gpu", "nvidia-rtx-3090", "--", "true") as terminal:
        terminal.shows("waits in line")
        terminal.press("\x03")
        status = terminal.ends()

    assert status == 130
    assert b"\x1b[?25h" in terminal.raw, "the cursor is shown again"
    assert seat.instances() == ["holder"]


def test_a_shell_is_a_terminal_there_with_our_size_and_our_keys(seat: Seat) -> None:
    seat.good("instances", "create", *GPU, "--name", "box")

    with in_terminal(seat, "instances", "shell", "box", columns=93, rows=21) as terminal:
        terminal.press("stty size; echo $((6*7))\r")
        terminal.shows("21 93")
        terminal.shows("42")
        terminal.resize(71, 17)
        terminal.press("while [ \"$(stty size)\" != '17 71' ]; do :; done; echo resized''now\r")
        terminal.shows("resizednow")
        terminal.press("bash -c 'echo \"run\"ning; exec sleep 600'\r")
        terminal.shows("running")
        terminal.press("\x03")
        terminal.press("exit 5\r")
        status = terminal.ends()

    assert status == 5


def test_after_a_shell_our_terminal_is_as_before(seat: Seat) -> None:
    seat.good("instances", "create", *GPU, "--name", "box")

    with in_terminal(seat, "instances", "shell", "box") as terminal:
        terminal.press("echo rea''dy\r")
        terminal.shows("ready")
        raw_meanwhile = not terminal.keeps_echo()
        terminal.press("exit\r")
        terminal.ends()

        assert raw_meanwhile
        assert terminal.keeps_echo()


def test_when_the_instance_goes_the_shell_ends_and_the_terminal_is_restored(seat: Seat) -> None:
    seat.good("instances", "create", *GPU, "--name", "box")

    with in_terminal(seat, "instances", "shell", "box") as terminal:
        terminal.press("echo rea''dy\r")
        terminal.shows("ready")
        seat.good("instances", "rm", "box")
        terminal.ends()

        assert terminal.keeps_echo()


def test_standard_input_that_is_no_terminal_is_run_as_a_script(seat: Seat) -> None:
    seat.good("instances", "create", *GPU, "--name", "box")

    ran = seat.gpuyard("instances", "shell", "box", stdin="echo one\nexit 3\n")

    assert (ran.status, ran.out) == (3, "one\n")
