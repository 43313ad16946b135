"""Moving a file or a directory, also from one disk to another, where a rename does not reach."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from contextlib import suppress

from gpuyard.resident.errors import wrong_field, wrong_state
from gpuyard.resident.paths import Spot


def move(source: Spot, target: Spot, overwrite: bool) -> None:
    """Move `source` to be `target`; missing directories above it are made. Raises OSError and refusals."""
    if target.real.is_relative_to(source.real) and target.real != source.real:
        raise wrong_field("move_to", f"{source.shown} cannot be moved into itself")
    with source.parent() as here, target.parent(make=True) as there:
        os.stat(source.name, dir_fd=here, follow_symlinks=False)
        if not overwrite and _exists(target.name, there):
            raise wrong_state(f"{target.shown} exists already", hint="?overwrite=true replaces it")
        try:
            os.rename(source.name, target.name, src_dir_fd=here, dst_dir_fd=there)
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                raise wrong_state(f"{target.shown} is a directory with content; delete it first") from None
            if error.errno != errno.EXDEV:
                raise
            _carry(source, here, target, there)


def _exists(name: str, parent: int) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _carry(source: Spot, here: int, target: Spot, there: int) -> None:
    """Copy beside the target, put it in place by a rename, and only then delete the source."""
    draft = f".gpuyard-{secrets.token_hex(10)}.part"
    try:
        _copy(source.name, here, draft, there)
        os.rename(draft, target.name, src_dir_fd=there, dst_dir_fd=there)
    except BaseException:
        _remove(draft, there)
        raise
    _remove(source.name, here)


def _copy(name: str, here: int, new: str, there: int) -> None:
    seen = os.stat(name, dir_fd=here, follow_symlinks=False)
    if stat.S_ISLNK(seen.st_mode):
        os.symlink(os.readlink(name, dir_fd=here), new, dir_fd=there)
    elif stat.S_ISDIR(seen.st_mode):
        _copy_directory(name, here, new, there, seen)
    elif stat.S_ISREG(seen.st_mode):
        _copy_file(name, here, new, there, seen)
    # a pipe or a socket means nothing without the programs that hold it


def _copy_directory(name: str, here: int, new: str, there: int, seen: os.stat_result) -> None:
    os.mkdir(new, 0o700, dir_fd=there)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    below, beside = os.open(name, flags, dir_fd=here), os.open(new, flags, dir_fd=there)
    try:
        for child in os.listdir(below):  # noqa: PTH208  (a descriptor, not a path)
            _copy(child, below, child, beside)
        os.fchmod(beside, stat.S_IMODE(seen.st_mode))
        os.utime(beside, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    finally:
        os.close(below)
        os.close(beside)


def _copy_file(name: str, here: int, new: str, there: int, seen: os.stat_result) -> None:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    with (
        os.fdopen(os.open(name, os.O_RDONLY | os.O_NONBLOCK | flags, dir_fd=here), "rb") as original,
        os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=there), "wb") as copy,
    ):
        shutil.copyfileobj(original, copy, 1024 * 1024)
        copy.flush()
        os.fchmod(copy.fileno(), stat.S_IMODE(seen.st_mode))
        os.utime(copy.fileno(), ns=(seen.st_atime_ns, seen.st_mtime_ns))
        os.fsync(copy.fileno())


def _remove(name: str, parent: int) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            shutil.rmtree(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)
