"""Files and folders between here and an instance, counted in bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuyard.sdk import Instance

Progress = Callable[[int, "int | None"], None]


class _Counted:
    """Passes progress on and remembers how far it came."""

    def __init__(self, tell: Progress) -> None:
        self._tell = tell
        self.bytes = 0

    def __call__(self, done: int, total: int | None) -> None:
        self.bytes = done
        self._tell(done, total)


def upload(instance: Instance, here: Path, there: str, progress: Progress) -> int:
    """Returns the bytes sent. A folder goes with all below it."""
    counted = _Counted(progress)
    instance.upload(here, there, progress=counted)
    return counted.bytes


def download(instance: Instance, there: str, here: Path, progress: Progress) -> int:
    """Returns the bytes received. Lands exactly at `here`, also where a folder of that name is there already."""
    counted = _Counted(progress)
    into_existing = here.is_dir() and here.name == PurePosixPath(there).name
    instance.download(there, f"{here.parent}/" if into_existing else here, progress=counted)
    return counted.bytes
