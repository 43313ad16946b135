"""The data directory: fit to use, ours alone while we run, and where others find us."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpuyard.server.exits import CannotStart, Exit

_LOCK = "yard.lock"
_SECRET = "secret"  # noqa: S105  the file's name
_SERVER = "server.json"
_TRIAL_BYTES = 64 * 1024

_PROBLEMS: Mapping[int, tuple[str, str]] = {
    errno.ENOSPC: ("its disk is full", "free some space or choose another with --data"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or choose another with --data"),
    errno.EROFS: ("it is on a read-only file system", "choose another with --data"),
    errno.EACCES: ("it may not be written to", "change its owner or mode, or choose another with --data"),
    errno.EPERM: ("it may not be written to", "change its owner or mode, or choose another with --data"),
    errno.ENOTDIR: ("a part of the path is a file", "choose another with --data"),
    errno.EEXIST: ("it is a file", "choose another with --data"),
    errno.ENOENT: ("it cannot be made there", "choose another with --data"),
}


def prepare(directory: Path) -> None:
    """Make the directory where it is missing, for its owner alone, and write to it once. Raises CannotStart."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=directory) as trial:
            trial.write(b"\0" * _TRIAL_BYTES)
            trial.flush()
            os.fsync(trial.fileno())
    except OSError as error:
        raise unusable(directory, error) from None


def unusable(directory: Path, error: OSError) -> CannotStart:
    problem, remedy = _PROBLEMS.get(error.errno or 0, (error.strerror or str(error), "choose another with --data"))
    return CannotStart(Exit.DATA_DIRECTORY, f"the data directory {directory} cannot be used: {problem}", remedy)


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold the directory's lock. The system gives it back however we end, so no stale lock is ever left."""
    path = directory / _LOCK
    try:
        file = path.open("a+")
    except OSError as error:
        raise unusable(directory, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise CannotStart(
                Exit.LOCKED,
                f"another server (process {holder}) uses the data directory {directory}",
                f"use that one, end it with `gpuyard down` or `kill {holder}`, or choose another directory with --data",
            ) from None
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def yard_secret(directory: Path) -> bytes:
    """The yard's own random bytes, made once. Raises CannotStart for a file that is not what we wrote."""
    path = directory / _SECRET
    with contextlib.suppress(FileNotFoundError):
        try:
            return bytes.fromhex(path.read_text("ascii"))
        except (ValueError, PermissionError) as error:
            raise CannotStart(
                Exit.DATA_DIRECTORY, f"the yard's secret {path} cannot be read: {error}", "restore it from a backup"
            ) from None
    fresh = secrets.token_bytes(32)
    _write_own(path, fresh.hex())
    return fresh


@contextlib.contextmanager
def announced(directory: Path, url: str, version: str) -> Iterator[None]:
    """Say in `server.json` that this process serves at `url`, for as long as it does."""
    path = directory / _SERVER
    _write_own(path, json.dumps({"pid": os.getpid(), "url": url, "version": version}))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _write_own(path: Path, text: str) -> None:
    """A file of the data directory. Raises CannotStart."""
    try:
        write_private(path, text)
    except OSError as error:
        raise unusable(path.parent, error) from None


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step, readable by its owner alone at every moment. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Empty for a file that is missing or not JSON."""
    try:
        told = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
