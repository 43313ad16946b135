"""A tar stream unpacked into a directory, each member judged before it is written, in bounded memory."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tarfile
import zlib
from collections.abc import Callable
from contextlib import suppress
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
        with into.directory(make=True), tarfile.open(fileobj=cast(IO[bytes], source), mode="r|*") as archive:
            while (member := archive.next()) is not None:
                _put(archive, member, into, done)
                archive.members = []  # type: ignore[attr-defined]  # else it remembers every member, and a million small files fill the memory
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise malformed(f"the body is not a whole tar archive: {error}", field="body") from error
    while source.read(_PIECE):
        pass  # padding behind the end of the archive
    return done


def _put(archive: tarfile.TarFile, member: tarfile.TarInfo, into: Spot, done: Unpacked) -> None:
    spot = _within(member.name, member, into, follow=member.isdir())
    if member.isdir():
        _directory(member, spot)
    elif member.issym():
        _refuse_leaving(member, spot, into)
        _place(spot, lambda draft, parent: os.symlink(member.linkname, draft, dir_fd=parent))
    elif member.islnk():
        _hard_link(member, spot, into)
    elif member.isreg():
        _file(archive, member, spot)
        done.bytes += member.size
    else:
        raise _bad(member, "is a device or a pipe; only files, directories and links are unpacked")
    done.files += not member.isdir()


def _within(name: str, member: tarfile.TarInfo, into: Spot, *, follow: bool) -> Spot:
    """The place of `name` inside the directory, links on the way there resolved as they are now."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise _bad(member, "climbs out of the directory")
    whole = into.real / path
    if follow or not path.parts:
        real = Path(os.path.realpath(whole))
    else:
        real = Path(os.path.realpath(whole.parent)) / path.name
    if not real.is_relative_to(into.real):
        raise _bad(member, "leads out of the directory through a link")
    below = real.relative_to(into.real).parts
    return Spot(into.anchor, (*into.parts, *below), str(PurePosixPath(into.shown, *below)))


def _refuse_leaving(member: tarfile.TarInfo, spot: Spot, into: Spot) -> None:
    """A link may climb only at its beginning: `a/../b` means another place once `a` has become a link."""
    target = PurePosixPath(member.linkname)
    climbing = [part == ".." for part in target.parts]
    leads_to = Path(os.path.realpath(spot.real.parent / target))
    out_of_order = climbing != sorted(climbing, reverse=True)
    if target.is_absolute() or out_of_order or not leads_to.is_relative_to(into.real):
        raise _bad(member, f"is a link to {member.linkname!r}, which leaves the directory")


def _directory(member: tarfile.TarInfo, spot: Spot) -> None:
    with spot.directory(make=True):
        pass
    fd = spot.open(os.O_RDONLY | os.O_DIRECTORY)
    try:
        if spot.parts:
            os.fchmod(fd, member.mode & 0o777 | stat.S_IRWXU)
    finally:
        os.close(fd)


def _hard_link(member: tarfile.TarInfo, spot: Spot, into: Spot) -> None:
    original = _within(member.linkname, member, into, follow=False)
    if not stat.S_ISREG(original.lstat().st_mode):
        raise _bad(member, f"is a hard link to {member.linkname!r}, which is not a file")
    with original.parent() as there:
        _place(
            spot,
            lambda draft, parent: os.link(
                original.name, draft, src_dir_fd=there, dst_dir_fd=parent, follow_symlinks=False
            ),
        )


def _file(archive: tarfile.TarFile, member: tarfile.TarInfo, spot: Spot) -> None:
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

    _place(spot, write)


def _place(spot: Spot, make: Callable[[str, int], None]) -> None:
    """Make it under another name and rename it: what was there is replaced, never written through."""
    with spot.parent(make=True) as parent:
        draft = f".gpuyard-{secrets.token_hex(10)}.part"
        try:
            make(draft, parent)
            os.rename(draft, spot.name, src_dir_fd=parent, dst_dir_fd=parent)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=parent)


def _bad(member: tarfile.TarInfo, why: str) -> Refusal:
    return wrong_field("body", f"the archive's member {member.name!r} {why}")
