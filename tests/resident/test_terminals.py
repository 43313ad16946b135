"""Terminals are real login shells in real pseudo-terminals, reached through a real resident."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, unix_connect

from tests.resident.running import SECRET, RunningResident, until

SECONDS = 30.0


class Screen:
    """What one viewer of a terminal has seen."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.seen = b""
        self.said: list[dict[str, Any]] = []
        self.close_code: int | None = None

    def type(self, text: str) -> None:
        self.socket.send(text.encode())

    def resize(self, columns: int, rows: int) -> None:
        self.socket.send(json.dumps({"resize": [columns, rows]}))

    def shows(self, text: str) -> bool:
        """Wait for `text`; fails when the terminal ends or the patience does."""
        while text.encode() not in self.seen:
            self._read()
        return True

    def ends(self) -> int:
        """Wait for the end and return the exit code."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self._read()
        self.close_code = self.socket.close_code
        return int(self.said[-1]["exit"])

    def _read(self) -> None:
        message = self.socket.recv(timeout=SECONDS)
        if isinstance(message, bytes):
            self.seen += message
        else:
            self.said.append(json.loads(message))


@contextlib.contextmanager
def a_screen(resident: RunningResident, name: str, query: str = "") -> Iterator[Screen]:
    uri = f"ws://resident/terminals/{name}{query}"
    headers = {"X-Resident-Secret": SECRET}
    with unix_connect(resident.socket, uri, additional_headers=headers, max_size=None, compression=None) as socket:
        yield Screen(socket)


def names(resident: RunningResident) -> list[str]:
    return [terminal["name"] for terminal in resident.client.get("/terminals").json()]


def test_what_is_typed_runs_in_the_workspace_and_what_it_prints_comes_back(resident: RunningResident) -> None:
    with a_screen(resident, "echo") as screen:
        screen.type("echo here:$(pwd):$((6 * 7))\n")

        assert screen.shows(f"here:{resident.workspace}:42")


def test_the_shell_of_a_terminal_finds_the_instances_own_python(resident: RunningResident) -> None:
    with a_screen(resident, "python") as screen:
        screen.type("python -c 'import sys; print(\"prefix=\" + sys.prefix)'\n")

        assert screen.shows(f"prefix={resident.home}/.gpuyard/python")


def test_the_size_is_the_one_asked_for_and_follows_a_resize(resident: RunningResident) -> None:
    with a_screen(resident, "size", "?cols=100&rows=30") as screen:
        screen.type("stty size\n")
        assert screen.shows("30 100")

        screen.resize(123, 45)
        screen.type("stty size\n")

        assert screen.shows("45 123")


def test_control_c_interrupts_the_program_and_not_the_shell(resident: RunningResident) -> None:
    with a_screen(resident, "interrupt") as screen:
        screen.type("sleep 984\n")
        until(lambda: "984" in sleepers(resident))

        screen.type("\x03")

        until(lambda: "984" not in sleepers(resident))  # an interrupt also throws away what is typed meanwhile
        screen.type("echo ali''ve\n")
        assert screen.shows("alive")


def test_who_joins_later_sees_what_was_there_and_both_see_what_comes(resident: RunningResident) -> None:
    with a_screen(resident, "shared") as first:
        first.type("echo bef''ore\n")
        first.shows("before")
        with a_screen(resident, "shared") as second:
            assert second.shows("before")

            second.type("echo toge''ther\n")

            assert first.shows("together")
            assert second.shows("together")


def test_a_closed_browser_leaves_the_shell_running(resident: RunningResident) -> None:
    with a_screen(resident, "left") as screen:
        screen.type("kept=here; echo se''t\n")
        screen.shows("set")

    with a_screen(resident, "left") as screen:
        screen.type("echo it:$kept:\n")

        assert screen.shows("it:here:")


def test_joining_replays_the_last_64_kib_and_no_more(resident: RunningResident) -> None:
    with a_screen(resident, "long") as screen:
        screen.type("seq 1 60000; echo do''ne\n")
        screen.shows("done")

    with a_screen(resident, "long") as screen:
        screen.shows("done")

        assert len(screen.seen) <= 64 * 1024
        assert b"59999\r\n" in screen.seen
        assert b"\r\n100\r\n" not in screen.seen


def test_the_exit_code_is_told_before_the_socket_closes(resident: RunningResident) -> None:
    with a_screen(resident, "exit") as screen:
        screen.type("exit 7\n")

        assert screen.ends() == 7
        assert screen.close_code == 1000
    until(lambda: "exit" not in names(resident))


def test_output_written_right_before_the_exit_is_not_lost(resident: RunningResident) -> None:
    with a_screen(resident, "last-words") as screen:
        screen.type("exec sh -c 'seq 1 5000; echo last''words'\n")

        assert screen.ends() == 0
        assert b"lastwords" in screen.seen


def test_deleting_a_terminal_ends_every_program_started_in_it(resident: RunningResident) -> None:
    with a_screen(resident, "doomed") as screen:
        screen.type("(trap '' HUP TERM; sleep 987) & setsid sleep 986 & echo start''ed; sleep 985\n")
        screen.shows("started")
        until(lambda: sleepers(resident) == {"985", "986", "987"})

        answer = resident.client.delete("/terminals/doomed")

        assert answer.status_code == 204
        assert screen.ends() >= 128
    assert sleepers(resident) == set()
    assert "doomed" not in names(resident)


def test_ending_the_resident_ends_its_terminals(a_resident: Any) -> None:
    running = a_resident()
    running.start()
    with a_screen(running, "t") as screen:
        screen.type("echo rea''dy\n")
        screen.shows("ready")
        [terminal] = running.client.get("/terminals").json()

        running.stop()

        assert not psutil.pid_exists(terminal["pid"])


def test_a_viewer_that_does_not_read_slows_the_program_instead_of_filling_the_memory(
    resident: RunningResident,
) -> None:
    with a_screen(resident, "flood") as screen:
        screen.type("echo rea''dy\n")
        screen.shows("ready")
        before = memory_of(resident)

        screen.type("yes | head -c 300000000; echo do''ne\n")
        until(lambda: paused(resident))

        assert memory_of(resident) - before < 24 * 1024 * 1024
    resident.client.delete("/terminals/flood")


@pytest.mark.parametrize("name", ["white%20space", "a" * 65])
def test_a_name_that_is_none_is_refused(resident: RunningResident, name: str) -> None:
    with pytest.raises(InvalidStatus) as refused, a_screen(resident, name):
        pass

    assert refused.value.response.status_code == 404


def test_a_terminal_that_is_not_there_cannot_be_deleted(resident: RunningResident) -> None:
    assert resident.client.delete("/terminals/nobody").status_code == 404


def sleepers(resident: RunningResident) -> set[str]:
    found = set()
    for process in psutil.Process(pid_of(resident)).children(recursive=True):
        with contextlib.suppress(psutil.Error, IndexError):
            if process.name() == "sleep" and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.cmdline()[1])
    return found & {"984", "985", "986", "987"}


def paused(resident: RunningResident) -> bool:
    """The writer waits for somebody to take its output: the kernel says in which call."""
    for process in psutil.Process(pid_of(resident)).children(recursive=True):
        with contextlib.suppress(psutil.Error, OSError):
            if process.name() == "head":
                return Path(f"/proc/{process.pid}/syscall").read_text().startswith(f"{os_write()} ")
    return False


def os_write() -> int:
    return {"x86_64": 1, "aarch64": 64}[os.uname().machine]


def memory_of(resident: RunningResident) -> int:
    return psutil.Process(pid_of(resident)).memory_info().rss


def pid_of(resident: RunningResident) -> int:
    assert resident.process is not None
    return resident.process.pid
