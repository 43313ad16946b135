"""A terminal of its own for a program under test: what a person would see, and keys to press."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.conftest import PATIENCE_SECONDS, PROGRAM, Seat

_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>()][AB0]?)")


class Terminal:
    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master = master
        self.raw = b""

    @property
    def shown(self) -> str:
        """What was ever shown, without what moves the cursor and paints."""
        return _ESCAPES.sub("", self.raw.decode(errors="replace")).replace("\r", "\n")

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def shows(self, words: str) -> None:
        """Wait until it has shown that."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while words not in self.shown:
            assert time.monotonic() < deadline, f"{words!r} not in {self.shown}"
            assert self._read(), f"ended without {words!r}: {self.shown}"

    def ends(self) -> int:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._read():
            assert time.monotonic() < deadline, self.shown
        return self.process.wait(PATIENCE_SECONDS)

    def keeps_echo(self) -> bool:
        """Whether the terminal is as a shell wants it: lines edited, keys echoed."""
        modes = termios.tcgetattr(self._master)[3]
        return bool(modes & termios.ECHO) and bool(modes & termios.ICANON)

    def _read(self) -> bool:
        """False at the end."""
        if not select.select([self._master], [], [], 0.2)[0]:
            return self.process.poll() is None
        try:
            piece = os.read(self._master, 65536)
        except OSError:
            return False
        self.raw += piece
        return bool(piece)


@contextmanager
def in_terminal(seat: Seat, *words: str | Path, columns: int = 100, rows: int = 30) -> Iterator[Terminal]:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {name: value for name, value in seat.environment.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [PROGRAM, *map(str, words)],
        cwd=seat.cwd,
        env=environment | {"TERM": "xterm-256color"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  the tests have no threads
    )
    terminal = Terminal(process, master)
    try:
        yield terminal
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(slave)
        os.close(master)
