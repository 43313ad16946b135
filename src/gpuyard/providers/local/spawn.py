"""Starts a process in a session of its own, with pipes at descriptor numbers of our choice and nothing else inherited."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_ABOVE_THE_CHOSEN = 10


@dataclass(slots=True)
class Child:
    pid: int
    ends: dict[int, int] = field(default_factory=dict)
    """Our ends of its pipes, by its descriptor numbers. Whoever takes one closes it."""

    def pour(self, number: int, data: bytes) -> None:
        """Write all of it and close. Waits for the child to read what a pipe does not hold."""
        with suppress(BrokenPipeError), os.fdopen(self.ends.pop(number), "wb") as pipe:
            pipe.write(data)  # a child that ended before it read is noticed by whoever waits for it


def spawn(
    argv: list[str], environment: Mapping[str, str], log: Path, *, reads: Collection[int], writes: Mapping[int, Path]
) -> Child:
    """Start `argv`, its output going to a new `log`. It reads pipes at `reads` and writes new files at `writes`.

    Not subprocess.Popen: that wants to be waited for, and what starts here outlives us. Raises OSError.
    """
    ours: dict[int, int] = {}
    theirs: list[int] = []
    actions: list[tuple[int, int, int]] = []
    try:
        for number in reads:
            read, ours[number] = os.pipe()
            theirs.append(read)
            actions.append((os.POSIX_SPAWN_DUP2, _raise(read, theirs), number))
        for number, file in writes.items():
            actions.append((os.POSIX_SPAWN_DUP2, _new_file(file, theirs), number))
        out = _new_file(log, theirs)
        quiet = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)] if 0 not in reads else []
        speaking = [(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)]
        pid = os.posix_spawn(argv[0], argv, environment, file_actions=[*quiet, *speaking, *actions], setsid=True)
    except BaseException:
        for fd in ours.values():
            os.close(fd)
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    return Child(pid, ours)


def _new_file(file: Path, opened: list[int]) -> int:
    opened.append(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600))
    return _raise(opened[-1], opened)


def _raise(fd: int, opened: list[int]) -> int:
    """The same at a higher number, so that filling the chosen numbers overwrites none that is still needed."""
    higher = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE_THE_CHOSEN)
    opened.append(higher)
    return higher
