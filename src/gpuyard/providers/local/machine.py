"""One machine of this provider: its directory, its resident, and how the one is started and ended in the other."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable

from gpuyard.providers.local import processes
from gpuyard.providers.local.disk import Place, Record, Running
from gpuyard.providers.local.launch import Launcher
from gpuyard.providers.local.line import ask
from gpuyard.resident.wire import Assignment

_FIRST_LOOK, _LONGEST_LOOK = 0.005, 0.05
"""Seconds between looks at a resident that starts: soon at first, since a warm one needs only milliseconds."""


class Machine:
    """Lives in the event loop; what blocks is done in threads. `record` is None as long as it serves no instance."""

    def __init__(self, place: Place, launcher: Launcher, on_end: Callable[[Machine], None]) -> None:
        self.place = place
        self.record: Record | None = None
        self.running: Running | None = None
        self.ready = False
        """Its resident answered, and serves the instance if there is one."""
        self.failed = ""
        """Why it ended by itself."""
        self.ending = False
        self.writing = asyncio.Lock()
        self.saved = False
        """The record is on disk, so a crash from now on loses nothing."""
        self.work: asyncio.Task[None] | None = None
        """What brings it to where its record wants it."""
        self.answered_at = 0.0
        self._launcher = launcher
        self._on_end = on_end
        self._secret = secrets.token_urlsafe(32)
        self._stdin: int | None = None
        self._ended = asyncio.Event()
        self._pidfd: int | None = None

    @property
    def launched(self) -> bool:
        return self.running is not None

    @property
    def alive(self) -> bool:
        return self.running is not None and not self._ended.is_set()

    async def launch(self, assignment: Assignment | None) -> None:
        """Start a resident. Raises OSError when there is no starting it."""
        launched = await asyncio.to_thread(self._launcher.launch, self.place, self._secret, assignment)
        self._stdin = launched.stdin
        self.failed = ""
        self.adopt(launched.running)

    def adopt(self, running: Running) -> None:
        """Take over a process, and notice when it ends."""
        self.running = running
        self.ready = False
        self._ended = asyncio.Event()
        try:
            self._pidfd = os.pidfd_open(running.watched.pid)
        except ProcessLookupError:
            self._note_end()
            return
        if not processes.alive(running.watched) and not _is_our_zombie(running.watched.pid):
            self._note_end()
            return
        asyncio.get_running_loop().add_reader(self._pidfd, self._note_end)

    def let_go(self) -> None:
        """Stop watching; what runs for an instance keeps running, a warm resident goes by itself."""
        self._drop_descriptors()

    async def answers(self) -> bool:
        """Does the resident answer now?"""
        answered = await ask(self.place.socket, "GET", "/healthz") == 200
        if answered:
            self.answered_at = asyncio.get_running_loop().time()
        return answered

    async def until_it_answers(self, still_wanted: Callable[[], bool]) -> bool:
        """False when it ended before it answered, or nobody wants it any more."""
        pause = _FIRST_LOOK
        while self.alive and still_wanted():
            if await self.answers():
                return True
            await self._pause(pause)
            pause = min(pause * 1.5, _LONGEST_LOOK)
        return False

    async def assign(self, assignment: Assignment) -> bool:
        """Give a warm resident its instance, durably. False when it did not take it."""
        body = assignment.model_dump_json().encode()
        status = await ask(self.place.socket, "POST", "/assign", secret=self._secret, body=body, seconds=10)
        if status != 204 or self.running is None:
            return False
        self.running = Running(self.running.watched, self.running.init, assigned=True)
        await asyncio.to_thread(self.place.write_running, self.running)
        return True

    async def end(self, secret: str, grace_seconds: float) -> None:
        """End all that runs in it: asked first, killed when that takes longer than the grace. Twice does no harm."""
        self.ending = True
        self.ready = False
        try:
            if self.alive and grace_seconds > 0:
                body = f'{{"grace_seconds": {grace_seconds}}}'.encode()
                told = await ask(self.place.socket, "POST", "/shutdown", secret=secret, body=body)
                if told == 202:
                    await self._pause(grace_seconds + 2)
            await self.kill()
        finally:
            self.ending = False

    async def kill(self) -> None:
        """End everything of it for certain. Raises OSError if something will not die, as in a hung disk."""
        running = self.running
        if not await asyncio.to_thread(_kill, self.place, running):
            raise OSError(f"processes of {self.place.slot} do not end")
        if running is not None:
            self._note_end()
            self.running = None

    async def _pause(self, seconds: float) -> None:
        """Sleep, but wake when the process ends."""
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            pass

    def _note_end(self) -> None:
        already = self._ended.is_set()
        self._ended.set()
        self.ready = False
        self._drop_descriptors()
        if self.running is not None:
            processes.reap(self.running.watched.pid)
        if not already:
            self._on_end(self)

    def _drop_descriptors(self) -> None:
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None


def _kill(place: Place, running: Running | None) -> bool:
    if running is not None and running.init is not None:
        processes.end(running.init)  # the kernel ends everything else in its process space
    elif running is not None:
        processes.end_tree(running.watched)
    if running is not None:
        processes.until_none(lambda: [running.watched] if processes.alive(running.watched) else [])
        processes.reap(running.watched.pid)
    return processes.until_none(lambda: processes.of_slot(place.slot, place.home))


def _is_our_zombie(pid: int) -> bool:
    """It ended at once, and nobody else can have its pid before we have seen it end."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False
