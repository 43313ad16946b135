"""An append-only file of records per execution: what was written stays, and any number of readers follow it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from gpuyard.resident import records

log = logging.getLogger("gpuyard.resident")

_READ_SIZE = 256 * 1024
_TAIL_STEP = 64 * 1024
_RESERVE_SIZE = 256 * 1024


class Reserve:
    """A little disk set aside, so that an execution can still be told to have ended when the disk is full."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.refill()

    def refill(self) -> None:
        with contextlib.suppress(OSError):
            if not self._path.exists():
                self._path.write_bytes(b"\0" * _RESERVE_SIZE)

    def take(self) -> bool:
        """Give it up; False when it is gone already."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True


class Journal:
    """Written by one event loop. `size` counts whole records only, so a reader never sees half a line."""

    def __init__(
        self,
        path: Path,
        limit: int,
        *,
        clock: Callable[[], float] = time.time,
        reserve: Reserve | None = None,
    ) -> None:
        self.path = path
        self._reserve = reserve
        self.ended = False
        self.elided = 0
        self._limit = limit
        self._clock = clock
        self._held: dict[str, bytes] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = os.fstat(self._fd).st_size

    # writing

    def output(self, stream: str, data: bytes, *, parent: str | None = None) -> None:
        """Bytes as a program wrote them, in any cut; the start of a character waits for its rest."""
        held = self._held.pop(stream, b"")
        data = held + data if held else data
        back = records.unfinished(data)
        if back:
            self._held[stream] = data[-back:]
            data = data[:-back]
        self._pieces(stream, data, parent)

    def text(self, stream: str, text: str, *, parent: str | None = None) -> None:
        """Text that is whole already."""
        self._pieces(stream, text.encode("utf-8", "replace"), parent)

    def record(self, kind: str, **fields: Any) -> None:
        """A record that is not output and is kept even when the journal is full."""
        line = records.record(self._clock(), kind, fields)
        if not self._append(line) and self._reserve is not None and self._reserve.take():
            self._append(line)

    def rich(self, kind: str, **fields: Any) -> None:
        """A record that may be large (a picture); it counts against the limit like output."""
        self._keep_or_elide(line := records.record(self._clock(), kind, fields), len(line))

    def end(self, code: int, reason: str) -> None:
        """The last record. What is written after it is dropped."""
        if self.ended:
            return
        for stream, rest in self._held.items():
            self._pieces(stream, rest, None)
        self._held.clear()
        if self.elided:
            self.record("elided", bytes=self.elided)
        self.record("exit", code=code, reason=reason)
        self.ended = True
        self._wake()

    def close(self) -> None:
        """Give the file back; readers that still follow it end."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self.ended = True
        self._wake()

    def _pieces(self, stream: str, data: bytes, parent: str | None) -> None:
        now = self._clock()
        for piece in records.pieces(data):
            if self.elided:
                self.elided += len(piece)
                continue
            self._keep_or_elide(records.output(now, stream, piece, parent), len(piece))

    def _keep_or_elide(self, line: bytes, weight: int) -> None:
        if self.elided or self.size + len(line) > self._limit:
            self.elided += weight
            return
        if not self._append(line):
            self.elided += weight

    def _append(self, line: bytes) -> bool:
        if self.ended or self._fd < 0:
            return True
        try:
            written = os.write(self._fd, line)
        except OSError as error:
            log.warning("cannot write %s: %s", self.path, error)
            written = 0
        if written < len(line):
            os.ftruncate(self._fd, self.size)
            return False
        self.size += len(line)
        self._wake()
        return True

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    # reading

    async def read(self, after: int, *, follow: bool) -> AsyncIterator[bytes]:
        """The bytes from offset `after` up to the last whole record; with `follow`, on until the journal has ended."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while True:
                until = self.size
                while after < until:
                    piece = os.pread(fd, min(_READ_SIZE, until - after), after)
                    if not piece:
                        return
                    after += len(piece)
                    yield piece
                if after < self.size:
                    continue
                if not follow or self.ended:
                    return
                news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(news)
                try:
                    await news
                finally:
                    if news in self._waiting:  # a reader that left; a silent program must not collect them
                        self._waiting.remove(news)
        finally:
            os.close(fd)


def repair(path: Path) -> dict[str, Any] | None:
    """Cut off what a crash left half written; returns the last whole record, None when there is none."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        end = os.fstat(fd).st_size
        while end:
            start = _line_start(fd, end)
            last = _parsed(os.pread(fd, end - start, start))
            if last is not None:
                os.ftruncate(fd, end)
                return last
            end = start
        os.ftruncate(fd, 0)
        return None
    finally:
        os.close(fd)


def _line_start(fd: int, end: int) -> int:
    """Where the line that ends at `end` begins."""
    upper = end - 1
    while upper > 0:
        lower = max(0, upper - _TAIL_STEP)
        found = os.pread(fd, upper - lower, lower).rfind(b"\n")
        if found >= 0:
            return lower + found + 1
        upper = lower
    return 0


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "s" in value else None
