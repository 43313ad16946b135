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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuyard.sdk._sync.terminal import Terminal

_CHANGED, _ENDED = b"w", b"e"


def size() -> tuple[int, int]:
    """Columns and rows of our terminal."""
    columns, rows = shutil.get_terminal_size()
    return columns, rows


def converse(terminal: Terminal) -> int | None:
    """Be that terminal until it ends. Returns its exit code; None when the connection was lost first.

    Standard input and output must be a terminal.
    """
    waking, waker = os.pipe()
    reader = threading.Thread(target=_show, args=(terminal, waker), daemon=True)
    with _raw(sys.stdin.fileno()), _on_resize(lambda: os.write(waker, _CHANGED)):
        reader.start()
        try:
            _pass_keys(terminal, sys.stdin.fileno(), waking)
        finally:
            terminal.close()
    reader.join(5)
    os.close(waking)
    if not reader.is_alive():
        os.close(waker)
    return terminal.exit_code


def _pass_keys(terminal: Terminal, keyboard: int, waking: int) -> None:
    while True:
        ready, _, _ = select.select([keyboard, waking], [], [])
        if waking in ready:
            told = os.read(waking, 1024)
            if _ENDED in told:
                return
            terminal.resize(*size())
        if keyboard in ready:
            keys = os.read(keyboard, 65536)
            if not keys:
                return
            terminal.send(keys)


def _show(terminal: Terminal, waker: int) -> None:
    screen = sys.stdout.fileno()
    try:
        while (text := terminal.receive()) is not None:
            while text:
                text = text[os.write(screen, text) :]
    except Exception:  # noqa: S110  the main thread sees that there is no exit code: the connection was lost
        pass
    finally:
        os.write(waker, _ENDED)


@contextlib.contextmanager
def _raw(keyboard: int) -> Iterator[None]:
    before = termios.tcgetattr(keyboard)
    try:
        # DRAIN: what was typed while we connected is not thrown away
        tty.setraw(keyboard, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _on_resize(then: Callable[[], object]) -> Iterator[None]:
    def changed(number: int, frame: FrameType | None) -> None:
        then()

    before = signal.signal(signal.SIGWINCH, changed)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
