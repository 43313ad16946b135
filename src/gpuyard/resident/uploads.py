"""Files that arrive: a draft beside the target, flushed to the disk, then renamed over it, so that nobody sees a half.

A resumable upload keeps its draft between requests. The draft's name follows from the upload's id and the target, so it
is found again after the resident was restarted.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import stat
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from gpuyard.resident.errors import Refusal, of_disk, wrong_field, wrong_state
from gpuyard.resident.paths import Spot
from gpuyard.resident.ranges import SentSpan

DRAFT = re.compile(r"\.gpuyard-[0-9a-f]{20}\.part")
"""The name of a file that is still arriving: not shown in listings, not part of archives."""

WRITE_SIZE = 1024 * 1024
"""Bytes gathered before a write: a hop to a thread costs as much as writing some 100 KiB."""

_ABANDONED_AFTER = 3 * 24 * 3600.0
_REMEMBERED = 1024


@contextmanager
def disk(what: str) -> Iterator[None]:
    """Turn what the operating system refuses into what the resident answers."""
    try:
        yield
    except OSError as error:
        refusal = of_disk(error, what=what)
        if refusal is None:
            raise
        raise refusal from error


class Draft:
    """A file being written beside its target. Use in threads; `close` always, `finish` at most once before it."""

    def __init__(self, spot: Spot, name: str, flags: int) -> None:
        self._target = spot.name
        self._name = name
        self._open = ExitStack()
        try:
            self._parent = self._open.enter_context(spot.parent(make=bool(flags & os.O_CREAT)))
            flags |= os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(name, flags, 0o666, dir_fd=self._parent)
            self._open.callback(os.close, self._fd)
        except BaseException:
            self._open.close()
            raise

    @classmethod
    def new(cls, spot: Spot, expected: int | None) -> Draft:
        """A draft for a whole file of, if known, `expected` bytes. Raises OSError and the refusals of a full disk."""
        draft = cls(spot, f".gpuyard-{secrets.token_hex(10)}.part", os.O_CREAT | os.O_EXCL)
        try:
            draft.refuse_unless_fits(expected or 0)
            draft._refuse_directory()
        except BaseException:
            draft.discard()
            draft.close()
            raise
        return draft

    def refuse_unless_fits(self, more: int) -> None:
        """Say at once what would otherwise be found out after gigabytes were sent."""
        free = os.fstatvfs(self._fd)
        room = free.f_bavail * free.f_frsize
        if more > room:
            text = f"the instance's disk has {room} bytes free, {more} are needed"
            raise Refusal(507, "storage_full", text, hint="delete something or ask for a larger disk")

    def _refuse_directory(self) -> None:
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(self._target, dir_fd=self._parent, follow_symlinks=False).st_mode):
                raise wrong_state(f"{self._target} is a directory; a file cannot replace it")

    def lock(self) -> None:
        """Raises BlockingIOError when another request writes to it."""
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @property
    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def append(self, data: bytes) -> None:
        os.lseek(self._fd, 0, os.SEEK_END)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def cut(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def finish(self, mode: int | None) -> bool:
        """Make it the target, whole and on the disk. True when there was no such file before."""
        self._refuse_directory()
        created = True
        with suppress(FileNotFoundError):
            before = os.stat(self._target, dir_fd=self._parent, follow_symlinks=False)
            created = False
            mode = stat.S_IMODE(before.st_mode) if mode is None else mode
        if mode is not None:
            os.fchmod(self._fd, mode & 0o777)
        os.fsync(self._fd)
        os.rename(self._name, self._target, src_dir_fd=self._parent, dst_dir_fd=self._parent)
        _flush_directory(self._parent)
        return created

    def discard(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._parent)

    def close(self) -> None:
        self._open.close()


@dataclass(frozen=True, slots=True)
class Part:
    """How far an upload is after one part: bytes that are there, not bytes that were announced."""

    have: int
    created: bool | None = None
    """None while parts are missing; then whether the file is new."""


class Uploads:
    """Receives files. `touch` is called as bytes arrive."""

    def __init__(self, state: Path, touch: Callable[[], None]) -> None:
        self._register = state / "uploads"
        self._touch = touch
        self._finished: OrderedDict[tuple[str, str], int] = OrderedDict()

    async def whole(self, spot: Spot, body: AsyncIterator[bytes], expected: int | None, mode: int | None) -> bool:
        """Receive a file in one request. True when it is new. Whatever goes wrong, nothing of it stays."""
        with disk(spot.shown):
            draft = await run_in_threadpool(Draft.new, spot, expected)
        try:
            with disk(spot.shown):
                async for block in self._blocks(body):
                    await run_in_threadpool(draft.append, block)
                return await run_in_threadpool(draft.finish, mode)
        finally:
            draft.discard()
            draft.close()

    async def part(
        self, spot: Spot, upload_id: str, sent: SentSpan, body: AsyncIterator[bytes], mode: int | None
    ) -> Part:
        """Receive one part; with the last byte as `whole`. What arrived stays, also of a part that was cut short."""
        with disk(spot.shown):
            draft = await run_in_threadpool(self._resume, spot, upload_id, sent)
        if draft is None:
            return Part(sent.total, created=False)  # its answer was lost, and it is asked again
        try:
            with disk(spot.shown):
                await self._receive(draft, sent, body)
                if (have := draft.size) < sent.total:
                    return Part(have)
                created = await run_in_threadpool(draft.finish, mode)
        finally:
            draft.close()
        self._remember(spot, upload_id, sent.total)
        return Part(sent.total, created)

    def have(self, spot: Spot, upload_id: str) -> int:
        """How many bytes of an upload have arrived."""
        with disk(spot.shown), suppress(FileNotFoundError), spot.parent() as parent:
            return os.stat(_draft_name(spot, upload_id), dir_fd=parent, follow_symlinks=False).st_size
        return self._finished.get((upload_id, spot.shown), 0)

    async def _receive(self, draft: Draft, sent: SentSpan, body: AsyncIterator[bytes]) -> None:
        size = sent.span.start
        async for block in self._blocks(body):
            size += len(block)
            if size > sent.span.stop:
                draft.cut(sent.span.start)
                raise wrong_field("Content-Range", f"the body is longer than the {sent.span.length} bytes it announces")
            await run_in_threadpool(draft.append, block)

    def _resume(self, spot: Spot, upload_id: str, sent: SentSpan) -> Draft | None:
        """The draft to append to; None for the last part of what is finished already."""
        first = sent.span.start == 0
        try:
            draft = Draft(spot, _draft_name(spot, upload_id), os.O_CREAT if first else 0)
        except FileNotFoundError:
            if self._finished.get((upload_id, spot.shown)) == sent.total == sent.span.stop:
                return None
            raise _gap(sent, 0) from None
        try:
            draft.lock()
            if draft.size != sent.span.start:
                raise _gap(sent, draft.size)
            draft.refuse_unless_fits(sent.total - draft.size)
        except BlockingIOError:
            draft.close()
            raise wrong_state("another request is sending a part of this upload now") from None
        except BaseException:
            draft.close()
            raise
        if first:
            self._note(spot, upload_id)
        return draft

    async def _blocks(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The body in pieces worth a write; what has arrived before it breaks off is not lost."""
        gathered: list[bytes] = []
        size = 0
        try:
            async for chunk in body:
                gathered.append(chunk)
                size += len(chunk)
                if size >= WRITE_SIZE:
                    self._touch()
                    yield b"".join(gathered)
                    gathered, size = [], 0
        except BaseException as broken:
            if gathered and isinstance(broken, Exception):
                yield b"".join(gathered)
            raise
        self._touch()
        if gathered:
            yield b"".join(gathered)

    def _remember(self, spot: Spot, upload_id: str, total: int) -> None:
        self._finished[upload_id, spot.shown] = total
        while len(self._finished) > _REMEMBERED:
            self._finished.popitem(last=False)
        (self._register / _draft_name(spot, upload_id)).unlink(missing_ok=True)

    def _note(self, spot: Spot, upload_id: str) -> None:
        """Write down where a draft lies, and delete those whose senders never came back."""
        self._register.mkdir(parents=True, exist_ok=True)
        name = _draft_name(spot, upload_id)
        (self._register / name).write_bytes(os.fsencode(spot.real.parent / name))
        for note in self._register.iterdir():
            with suppress(OSError):
                draft = Path(os.fsdecode(note.read_bytes()))
                touched_at = draft.lstat().st_mtime if draft.exists() else 0.0
                if time.time() - touched_at > _ABANDONED_AFTER:
                    note.unlink()
                    draft.unlink()


def _gap(sent: SentSpan, have: int) -> Refusal:
    text = f"the upload has {have} bytes, so the next part must begin there, not at {sent.span.start}"
    return wrong_state(text, details={"have": have})


def _draft_name(spot: Spot, upload_id: str) -> str:
    key = os.fsencode(f"{upload_id}\0{spot.name}")
    return f".gpuyard-{hashlib.sha256(key).hexdigest()[:20]}.part"


def _flush_directory(parent: int) -> None:
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
