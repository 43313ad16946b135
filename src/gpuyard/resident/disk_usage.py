"""How much disk the instance's files take: asked often, counted seldom."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

_COUNTED_EVERY_SECONDS = 30.0
_WORTH_WAITING_SECONDS = 0.2


class DiskUsage:
    """Counts in a thread of its own, one count at a time, at most every 30 seconds, and only when asked."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = directories
        self._bytes = 0
        self._counted_at = float("-inf")
        self._counting: threading.Thread | None = None
        self._turn = threading.Lock()

    def used(self) -> int:
        """Bytes on the disk as counted last. A tree that is counted in no time is counted first."""
        with self._turn:
            due = time.monotonic() - self._counted_at >= _COUNTED_EVERY_SECONDS
            if due and (self._counting is None or not self._counting.is_alive()):
                self._counting = threading.Thread(target=self._count, name="disk-usage", daemon=True)
                self._counting.start()
            counting = self._counting
        if counting is not None:
            counting.join(_WORTH_WAITING_SECONDS)
        return self._bytes

    def _count(self) -> None:
        self._bytes = bytes_below(self._directories)
        self._counted_at = time.monotonic()


def bytes_below(directories: Iterable[Path]) -> int:
    """What the files below take on the disk. Links are not followed; a file of several names counts once."""
    total = 0
    counted: set[tuple[int, int]] = set()
    todo = [os.fspath(directory) for directory in directories]
    while todo:
        with suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    seen = entry.stat(follow_symlinks=False)
                    if seen.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                        if (seen.st_dev, seen.st_ino) in counted:
                            continue
                        counted.add((seen.st_dev, seen.st_ino))
                    total += seen.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
    return total
