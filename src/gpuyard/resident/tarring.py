"""A directory as a tar stream, made piece by piece as it is read, in bounded memory and without a temporary file."""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from gpuyard.resident.paths import Spot
from gpuyard.resident.uploads import DRAFT

_PIECE = 256 * 1024
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def tar_of(spot: Spot, exclude: Sequence[str] = ()) -> Iterator[bytes]:
    """The tar of a directory's content, or of one file. What vanishes while it is packed is left out.

    Raises OSError before the first piece when there is nothing at `spot`.
    """
    seen = spot.lstat()
    if stat.S_ISDIR(seen.st_mode):
        fd = spot.open(os.O_RDONLY | os.O_DIRECTORY)
        return _finished(_content(fd, "", tuple(exclude)))
    with spot.parent() as parent:
        fd = os.dup(parent)
    return _finished(_closing(fd, _member(fd, spot.name, spot.name, seen, ())))


def gzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    squeeze = zlib.compressobj(level=5, wbits=31)
    for piece in pieces:
        if squeezed := squeeze.compress(piece):
            yield squeezed
    yield squeeze.flush()


def gathered(pieces: Iterator[bytes], size: int = 1024 * 1024) -> Iterator[bytes]:
    """Many small pieces as fewer larger ones: each costs a hop between threads."""
    waiting: list[bytes] = []
    length = 0
    for piece in pieces:
        waiting.append(piece)
        length += len(piece)
        if length >= size:
            yield b"".join(waiting)
            waiting, length = [], 0
    if waiting:
        yield b"".join(waiting)


def excluded(path: str, patterns: Sequence[str]) -> bool:
    """Does a pattern fit the path below the packed directory, or its last name? `dir/` means the same as `dir`."""
    name = path.rpartition("/")[2]
    return any(fnmatchcase(path, wanted) or fnmatchcase(name, wanted) for wanted in (p.strip("/") for p in patterns))


def _finished(pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from pieces
    yield bytes(2 * tarfile.BLOCKSIZE)


def _closing(fd: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    finally:
        os.close(fd)


def _content(fd: int, prefix: str, exclude: tuple[str, ...]) -> Iterator[bytes]:
    try:
        for name in sorted(os.listdir(fd)):
            path = f"{prefix}{name}"
            if DRAFT.fullmatch(name) or excluded(path, exclude):
                continue
            with contextlib.suppress(FileNotFoundError):
                seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
                yield from _member(fd, name, path, seen, exclude)
    finally:
        os.close(fd)


def _member(fd: int, name: str, path: str, seen: os.stat_result, exclude: tuple[str, ...]) -> Iterator[bytes]:
    header = tarfile.TarInfo(path)
    header.mode, header.mtime = stat.S_IMODE(seen.st_mode), seen.st_mtime
    header.uid = header.gid = 1000
    header.uname = header.gname = "coder"
    if stat.S_ISDIR(seen.st_mode):
        below = os.open(name, _DIRECTORY, dir_fd=fd)
        header.type = tarfile.DIRTYPE
        yield _block(header)
        yield from _content(below, f"{path}/", exclude)
    elif stat.S_ISLNK(seen.st_mode):
        header.type, header.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=fd)
        yield _block(header)
    elif stat.S_ISREG(seen.st_mode):
        yield from _closing(opened := os.open(name, _READING, dir_fd=fd), _file(opened, header))
    # a pipe, a socket or a device means nothing elsewhere


def _file(fd: int, header: tarfile.TarInfo) -> Iterator[bytes]:
    header.size = left = os.fstat(fd).st_size
    yield _block(header)
    while left:
        piece = os.read(fd, min(_PIECE, left))
        if not piece:  # it shrank while it was read; the header has promised its size
            piece = bytes(min(_PIECE, left))
        left -= len(piece)
        yield piece
    if padding := -header.size % tarfile.BLOCKSIZE:
        yield bytes(padding)


def _block(header: tarfile.TarInfo) -> bytes:
    return header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
