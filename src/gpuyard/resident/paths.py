"""Which file of the instance a caller means, and that it is one a caller may touch.

A path is mapped (`Places.meant`, pure), its symbolic links are resolved and the outcome checked (`Places.locate`), and
then it is opened one directory at a time without following links (`Spot`): a link that is put in the way after
the check makes the open fail instead of leading out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gpuyard.resident.errors import wrong_field
from gpuyard.resident.wire import Residence

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Spot:
    """One place below a directory that callers may touch. `parts` has no links, no `..`, no empty names."""

    anchor: Path
    parts: tuple[str, ...]
    shown: str
    """What the programs of the instance call it."""

    @property
    def real(self) -> Path:
        return self.anchor.joinpath(*self.parts)

    @property
    def name(self) -> str:
        """The last name. Raises the refusal for a place that is not to be replaced, moved or deleted."""
        if not self.parts:
            raise wrong_field("path", f"{self.shown} itself cannot be replaced, moved or deleted, only what is in it")
        return self.parts[-1]

    @contextmanager
    def parent(self, *, make: bool = False) -> Iterator[int]:
        """A descriptor of the directory that holds it, for `dir_fd`; with `make`, missing directories are made."""
        with _walk(self.anchor, self.parts[:-1], make) as fd:
            yield fd

    @contextmanager
    def directory(self, *, make: bool = False) -> Iterator[int]:
        """A descriptor of the place itself, which is a directory, for `dir_fd`."""
        with _walk(self.anchor, self.parts, make) as fd:
            yield fd

    def open(self, flags: int) -> int:
        if not self.parts:
            return os.open(self.anchor, flags | os.O_CLOEXEC)
        with self.parent() as parent:
            return os.open(self.parts[-1], flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)

    def lstat(self) -> os.stat_result:
        if not self.parts:
            return self.anchor.stat()
        with self.parent() as parent:
            return os.stat(self.parts[-1], dir_fd=parent, follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class Places:
    """The real directories behind the instance's own ones. `root` is `/` inside a sandbox."""

    root: Path
    workspace: Path
    home: Path
    tmp: Path

    @classmethod
    def of(cls, residence: Residence) -> Places:
        root = Path(os.path.realpath(residence.root or "/"))

        def real(own: Path) -> Path:
            mapped = own if own.is_relative_to(root) else root / own.relative_to("/")
            return Path(os.path.realpath(mapped))

        return cls(root, real(residence.workspace), real(residence.home), real(residence.tmp))

    @property
    def anchors(self) -> tuple[Path, ...]:
        """What callers may touch, the deepest first."""
        return tuple(sorted((self.workspace, self.home, self.tmp), key=lambda path: -len(path.parts)))

    def meant(self, raw: str, *, field: str = "path") -> Path:
        """Map what a caller wrote to a real path, links and `..` still in it. No look at the disk.

        Relative is to the work directory, `~` is the home directory, absolute is as the instance's programs see it
        (without a sandbox they see real paths, so those are understood too).
        """
        if "\0" in raw:
            raise wrong_field(field, f"{field} has a NUL character")
        if raw == "~" or raw.startswith("~/"):
            return self.home / raw[2:].lstrip("/")
        if not raw.startswith("/"):
            return self.workspace / raw
        absolute = Path("/" + raw.lstrip("/"))
        return absolute if absolute.is_relative_to(self.root) else self.root / absolute.relative_to("/")

    def own(self, real: Path) -> str:
        """What the programs of a sandboxed instance call a real path."""
        return "/" + str(real.relative_to(self.root)) if real != self.root else "/"

    def locate(self, raw: str, *, follow: bool = True, field: str = "path") -> Spot:
        """The spot that `raw` means; it need not exist. With `follow=False` a link at the very end is meant itself.

        Raises the 422 of docs/resident.md when it is outside of what callers may touch.
        """
        meant = self.meant(raw, field=field)
        last = raw.rstrip("/").rpartition("/")[2]
        if follow or last in ("", ".", "..", "~"):
            real = Path(os.path.realpath(meant))
        else:
            real = Path(os.path.realpath(meant.parent)) / meant.name
        return self.spot(real) or _refuse(raw, self, field)

    def spot(self, real: Path) -> Spot | None:
        """The spot of a path without links; None when it is outside."""
        for anchor in self.anchors:
            if real.is_relative_to(anchor):
                return Spot(anchor, real.relative_to(anchor).parts, self.own(real))
        return None


def _refuse(raw: str, places: Places, field: str) -> Spot:
    allowed = ", ".join(places.own(anchor) for anchor in (places.workspace, places.home, places.tmp))
    raise wrong_field(field, f"{field} {raw!r} leads out of the instance's files", hint=f"stay inside {allowed}")


@contextmanager
def _walk(anchor: Path, parts: tuple[str, ...], make: bool) -> Iterator[int]:
    fd = os.open(anchor, _DIRECTORY)
    try:
        for part in parts:
            below = _step(fd, part, make)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def _step(fd: int, part: str, make: bool) -> int:
    try:
        return os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):  # somebody else made it in between
        os.mkdir(part, dir_fd=fd)
    return os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
