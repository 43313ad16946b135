"""An instance's terminal in ours: raw keys over, bytes back, the size kept in step, and ours restored whatever happens."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from types import FrameType
from typing import Protocol


class Link(Protocol):
    """A terminal in an instance, joined."""

    def write(self, keys: bytes) -> None: ...
    def resize(self, cols: int, rows: int) -> None: ...
    def read(self) -> bytes | None:
        """What was written there since; None at its end."""
        ...

    @property
    def exit_code(self) -> int | None: ...
    def close(self) -> None: ...


_CHANGED, _ENDED = b"w", b"e"


def size() -> tuple[int, int]:
    """Columns and rows of our terminal."""
    return tuple(shutil.get_terminal_size())  # type: ignore[return-value]


def converse(link: Link) -> int | None:
    """Be that terminal until it ends. Returns its exit code; None when the connection was lost first.

    Standard input and output must be a terminal.
    """
    waking, waker = os.pipe()
    reader = threading.Thread(target=_show, args=(link, waker), daemon=True)
    with _raw(sys.stdin.fileno()), _on_resize(lambda: os.write(waker, _CHANGED)):
        reader.start()
        with contextlib.suppress(ConnectionError, OSError):
            _pass_keys(link, sys.stdin.fileno(), waking)
        link.close()
    reader.join(5)
    os.close(waking)
    if not reader.is_alive():
        os.close(waker)
    return link.exit_code


def _pass_keys(link: Link, keyboard: int, waking: int) -> None:
    while True:
        ready, _, _ = select.select([keyboard, waking], [], [])
        if waking in ready:
            told = os.read(waking, 1024)
            if _ENDED in told:
                return
            link.resize(*size())
        if keyboard in ready:
            keys = os.read(keyboard, 65536)
            if not keys:
                return
            link.write(keys)


def _show(link: Link, waker: int) -> None:
    screen = sys.stdout.fileno()
    try:
        while (text := link.read()) is not None:
            while text:
                text = text[os.write(screen, text) :]
    except (ConnectionError, OSError):
        pass  # the main thread sees that there is no exit code
    finally:
        os.write(waker, _ENDED)


@contextlib.contextmanager
def _raw(keyboard: int) -> Iterator[None]:
    before = termios.tcgetattr(keyboard)
    try:
        tty.setraw(keyboard)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _on_resize(then: object) -> Iterator[None]:
    def changed(number: int, frame: FrameType | None) -> None:
        if callable(then):
            then()

    before = signal.signal(signal.SIGWINCH, changed)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
