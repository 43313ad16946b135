"""Processes of this machine, known by pid and start time so that a reused pid is never taken for the old one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
MARK = "gpuyard-slot="
"""`python -X gpuyard-slot=…`: on the command line rather than in the environment, because the resident makes
its own environment unreadable, and so that the sandbox around it carries the mark too."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One process for ever: no other ever has the same three values."""

    pid: int
    started: int
    """Clock ticks since boot."""
    boot: str


@cache
def boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> Identity | None:
    """None when there is no such process, or only its zombie."""
    seen = _stat(pid)
    return None if seen is None or seen.dead else Identity(pid, seen.started, boot_id())


def alive(process: Identity) -> bool:
    return identify(process.pid) == process


def end(process: Identity, signum: int = signal.SIGKILL) -> None:
    """Signal exactly this process; of one that is gone: no effect."""
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        if alive(process):  # checked after opening: the descriptor cannot come to mean another process
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signum)
    finally:
        os.close(fd)


def reap(pid: int) -> None:
    """Let the kernel forget an ended child of ours; of anybody else's: no effect."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def slots_in_use() -> dict[str, list[Identity]]:
    """Every marked process there is, by its slot."""
    found: dict[str, list[Identity]] = {}
    for pid in _pids():
        for word in _words(pid, "cmdline"):
            if word.startswith(MARK.encode()):
                process = identify(pid)
                if process is not None:
                    found.setdefault(word.decode().removeprefix(MARK), []).append(process)
                break
    return found


def of_slot(slot: str, home: Path) -> list[Identity]:
    """The resident of a slot, its sandbox, and what still has the instance's home directory as its own."""
    mark, at_home = f"{MARK}{slot}".encode(), f"HOME={home}".encode()
    pids = [pid for pid in _pids() if mark in _words(pid, "cmdline") or at_home in _words(pid, "environ")]
    return [process for process in map(identify, pids) if process is not None]


def tree(root: Identity) -> list[Identity]:
    """A process and all its descendants, parents first; empty when it is gone."""
    if not alive(root):
        return []
    children: dict[int, list[int]] = {}
    for pid in _pids():
        seen = _stat(pid)
        if seen is not None and not seen.dead:
            children.setdefault(seen.parent, []).append(pid)
    order, todo = [root], [root.pid]
    while todo:
        below = [process for pid in children.get(todo.pop(), []) if (process := identify(pid)) is not None]
        order += below
        todo += [process.pid for process in below]
    return order


def end_tree(root: Identity) -> None:
    """Kill a process and every descendant. The root is held still meanwhile, so that it makes no new ones."""
    end(root, signal.SIGSTOP)
    until_none(lambda: tree(root)[1:])
    end(root)


def until_none(find: Callable[[], Iterable[Identity]], seconds: float = 10.0) -> bool:
    """Kill what `find` finds until it finds nothing. False if something would not die, as in a hung disk."""
    deadline = time.monotonic() + seconds
    pause = 0.001
    while left := list(find()):
        for process in left:
            end(process)
            reap(process.pid)
        if time.monotonic() > deadline:
            return False
        _wait_for_end(left[0], pause)
        pause = min(pause * 2, 0.1)
    return True


def _wait_for_end(process: Identity, seconds: float) -> None:
    import select

    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        select.select([fd], [], [], seconds)
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class _Stat:
    parent: int
    started: int
    dead: bool


def _stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (OSError, ValueError):
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything, spaces and brackets too
    return _Stat(parent=int(fields[1]), started=int(fields[19]), dead=fields[0] in "ZX")


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _words(pid: int, file: str) -> list[bytes]:
    try:
        return (_PROC / str(pid) / file).read_bytes().split(b"\0")
    except OSError:
        return []
