"""The yard's copies of execution output: one file each, byte for byte what the resident wrote."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import threading
from collections import OrderedDict
from pathlib import Path

from gpuyard.domain.errors import Invalid, StorageFull
from gpuyard.domain.ids import ExecutionId

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_REMEMBERED = 4096
_LOOK_BACK = 65536


class DiskJournals:
    """`ports.residents.Journals` under one directory, fanned out so that no directory holds too many files.

    What `append` returned is as safe as the operating system: it outlives this process, and after a power cut
    the end of it may be missing, in which case the next copy from the resident fills it in again. So there is no fsync on the way
    of every line of output. Safe to use from several threads.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._sizes: OrderedDict[ExecutionId, int] = OrderedDict()
        """Sizes of journals that were checked for a torn end in the life of this process."""

    def size(self, execution_id: ExecutionId) -> int:
        with self._lock:
            return self._size(execution_id)

    def append(self, execution_id: ExecutionId, at: int, data: bytes) -> int:
        """Raises Invalid for an offset beyond the end, StorageFull when the disk takes no more; what was there
        before stays as it was."""
        with self._lock:
            size = self._size(execution_id)
            if at > size:
                raise Invalid(
                    f"the journal of {execution_id} ends at {size}; nothing can be written at {at}",
                    field="at",
                    hint=f"send it from {size} on",
                )
            new = memoryview(data)[size - at :]
            if new:
                size = self._write(execution_id, size, new)
            return size

    def read(self, execution_id: ExecutionId, after: int, limit: int) -> bytes:
        """A record longer than `limit` comes whole all the same, else a reader could never pass it."""
        with self._lock:
            size = self._size(execution_id)
        if after >= size:
            return b""
        with self._path(execution_id).open("rb") as file:
            file.seek(after)
            found = file.read(min(max(limit, 1), size - after))
            end = found.rfind(b"\n") + 1
            if end:
                return found[:end]
            # Bounded by `size`: what another thread is writing right now is not to be seen half.
            while len(found) < size - after:
                more = file.read(min(_LOOK_BACK, size - after - len(found)))
                if not more:
                    break
                newline = more.find(b"\n")
                if newline >= 0:
                    return found + more[: newline + 1]
                found += more
        return b""

    def remove(self, execution_id: ExecutionId) -> None:
        """Of what is not there: no effect."""
        with self._lock:
            self._sizes.pop(execution_id, None)
            self._path(execution_id).unlink(missing_ok=True)

    def _write(self, execution_id: ExecutionId, size: int, new: memoryview) -> int:
        path = self._path(execution_id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                written = 0
                while written < len(new):
                    written += os.pwrite(descriptor, new[written:], size + written)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
            finally:
                os.close(descriptor)
        except OSError as error:
            self._sizes.pop(execution_id, None)
            if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}:
                raise StorageFull(
                    f"the yard cannot write to {path}: {error.strerror}",
                    hint="free some space on the disk of the data directory, or make it writable",
                    retry_after=5,
                ) from error
            raise
        self._remember(execution_id, size + len(new))
        return size + len(new)

    def _size(self, execution_id: ExecutionId) -> int:
        size = self._sizes.get(execution_id)
        if size is None:
            size = _without_torn_end(self._path(execution_id))
            self._remember(execution_id, size)
        return size

    def _remember(self, execution_id: ExecutionId, size: int) -> None:
        self._sizes[execution_id] = size
        self._sizes.move_to_end(execution_id)
        while len(self._sizes) > _REMEMBERED:
            self._sizes.popitem(last=False)

    def _path(self, execution_id: ExecutionId) -> Path:
        if not _ID.fullmatch(execution_id):  # it becomes a file name
            raise Invalid(f"{execution_id!r} cannot be an execution's id", field="execution_id")
        # By digest, since every id begins alike.
        return self._folder / hashlib.sha256(execution_id.encode()).hexdigest()[:2] / execution_id


def _without_torn_end(path: Path) -> int:
    """Cut off what a killed writer left after the last whole record; answer what remains."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        size = end = os.fstat(descriptor).st_size
        keep = 0
        while end > 0:
            start = max(end - _LOOK_BACK, 0)
            newline = os.pread(descriptor, end - start, start).rfind(b"\n")
            if newline >= 0:
                keep = start + newline + 1
                break
            end = start
        if keep < size:
            os.ftruncate(descriptor, keep)
        return keep
    finally:
        os.close(descriptor)
