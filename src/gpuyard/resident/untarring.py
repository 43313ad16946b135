"""A tar stream unpacked into a directory, each member judged before it is written, in bounded memory."""

from __future__ import annotations

import lzma
import os
import secrets
import shutil
import stat
import tarfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from gpuyard.resident.errors import Refusal, malformed, wrong_field
from gpuyard.resident.paths import Spot

_PIECE = 1024 * 1024


class Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass
class Unpacked:
    files: int = 0
    bytes: int = 0


def unpack(source: Source, into: Spot) -> Unpacked:
    """Unpack a tar, compressed or not. Blocks; run it in a thread. Raises OSError and refusals.

    What came before a refused member stays: a stream is seen only once.
    """
    done = Unpacked()
    try:
        with _Target(into) as target, tarfile.open(fileobj=cast(IO[bytes], source), mode="r|*") as archive:
            while (member := archive.next()) is not None:
                _put(archive, member, target, done)
                # else it remembers every member, and a million small files fill the memory
                archive.members = []  # type: ignore[attr-defined]
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, OverflowError) as error:
        raise malformed(f"the body is not a whole tar archive: {error}", field="body") from error
    while source.read(_PIECE):
        pass  # padding behind the end of the archive
    return done


class _Target:
    """The directory that is filled. Keeps the last parent open: most members lie beside the one before."""

    def __init__(self, into: Spot) -> None:
        self.into = into
        self._open = ExitStack()
        self._parent: tuple[PurePosixPath, Spot, int] | None = None

    def __enter__(self) -> _Target:
        with self.into.directory(make=True):
            return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def within(self, name: str, member: tarfile.TarInfo, *, follow: bool = False) -> Spot:
        """The place of `name` inside the directory, links on the way there resolved as they are now."""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\0" in name:
            raise _bad(member, "climbs out of the directory")
        if follow or not path.parts:
            return self._inside(member, Path(os.path.realpath(self.into.real / path)))
        if self._parent and self._parent[0] == path.parent:
            beside = self._parent[1]
            return Spot(beside.anchor, (*beside.parts, path.name), f"{beside.shown}/{path.name}")
        return self._inside(member, Path(os.path.realpath(self.into.real / path.parent)) / path.name)

    def place(self, member: tarfile.TarInfo, make: Callable[[str, int], None]) -> None:
        """Make it under another name and rename it: what was there is replaced, never written through."""
        spot = self.within(member.name, member)
        parent = self._parent_of(PurePosixPath(member.name).parent, spot)
        draft = f".gpuyard-{secrets.token_hex(10)}.part"
        try:
            make(draft, parent)
            os.rename(draft, spot.name, src_dir_fd=parent, dst_dir_fd=parent)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=parent)

    def _parent_of(self, written: PurePosixPath, spot: Spot) -> int:
        """A link that changes what `written` means has another parent itself, so the last one is never outdated."""
        if self._parent is None or self._parent[0] != written:
            self._open.close()
            self._parent = None
            fd = self._open.enter_context(spot.parent(make=True))
            above = Spot(spot.anchor, spot.parts[:-1], str(PurePosixPath(spot.shown).parent))
            self._parent = (written, above, fd)
        return self._parent[2]

    def _inside(self, member: tarfile.TarInfo, real: Path) -> Spot:
        if not real.is_relative_to(self.into.real):
            raise _bad(member, "leads out of the directory through a link")
        below = real.relative_to(self.into.real).parts
        return Spot(self.into.anchor, (*self.into.parts, *below), str(PurePosixPath(self.into.shown, *below)))


def _put(archive: tarfile.TarFile, member: tarfile.TarInfo, target: _Target, done: Unpacked) -> None:
    if member.isdir():
        _directory(member, target)
        return
    if member.issym():
        _refuse_leaving(member, target)
        target.place(member, lambda draft, parent: os.symlink(member.linkname, draft, dir_fd=parent))
    elif member.islnk():
        _hard_link(member, target)
    elif member.isreg():
        target.place(member, _content(archive, member))
        done.bytes += member.size
    else:
        raise _bad(member, "is a device or a pipe; only files, directories and links are unpacked")
    done.files += 1


def _directory(member: tarfile.TarInfo, target: _Target) -> None:
    spot = target.within(member.name, member, follow=True)
    with spot.directory(make=True):
        fd = spot.open(os.O_RDONLY | os.O_DIRECTORY)
    try:
        if spot.parts != target.into.parts:
            os.fchmod(fd, member.mode & 0o777 | stat.S_IRWXU)
    finally:
        os.close(fd)


def _refuse_leaving(member: tarfile.TarInfo, target: _Target) -> None:
    """A link may climb only at its beginning: `a/../b` means another place once `a` has become a link."""
    link = PurePosixPath(member.linkname)
    climbing = [part == ".." for part in link.parts]
    leads_to = Path(os.path.realpath(target.within(member.name, member).real.parent / link))
    out_of_order = climbing != sorted(climbing, reverse=True)
    if link.is_absolute() or out_of_order or not leads_to.is_relative_to(target.into.real):
        raise _bad(member, f"is a link to {member.linkname!r}, which leaves the directory")


def _hard_link(member: tarfile.TarInfo, target: _Target) -> None:
    original = target.within(member.linkname, member)
    if not stat.S_ISREG(original.lstat().st_mode):
        raise _bad(member, f"is a hard link to {member.linkname!r}, which is not a file")

    def link(draft: str, parent: int) -> None:
        with original.parent() as there:
            os.link(original.name, draft, src_dir_fd=there, dst_dir_fd=parent, follow_symlinks=False)

    target.place(member, link)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[str, int], None]:
    content = archive.extractfile(member)
    assert content is not None  # it is one for regular files

    def write(draft: str, parent: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(draft, flags, 0o600, dir_fd=parent), "wb") as file:
            shutil.copyfileobj(content, file, _PIECE)
            if file.tell() != member.size:
                raise tarfile.ReadError(f"it ends in the middle of {member.name!r}")
            file.flush()
            os.fchmod(file.fileno(), member.mode & 0o777 | stat.S_IRUSR | stat.S_IWUSR)
            os.utime(file.fileno(), (member.mtime, member.mtime))

    return write


def _bad(member: tarfile.TarInfo, why: str) -> Refusal:
    return wrong_field("body", f"the archive's member {member.name!r} {why}")
