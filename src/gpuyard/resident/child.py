"""One child process: its start in a session of its own, its pipes, and its end, without a thread where pidfd exists."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

_READ_SIZE = 64 * 1024


class Outlet:
    """The reading end of a pipe. One read per turn of the loop: a fast writer is slowed down, never buffered."""

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink: Callable[[bytes], None] | None = sink
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        self.closed = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._reading, self._readable)

    def release_writing(self) -> None:
        """The child has its own copy now; ours would keep the pipe from ever ending."""
        os.close(self.writing)

    def drop_the_rest(self) -> None:
        """Take what is in the pipe now; what comes later is read and dropped, so that its writer lives on."""
        if self.closed.is_set():
            return
        waiting = struct.unpack("i", fcntl.ioctl(self._reading, termios.FIONREAD, b"\0" * 4))[0]
        while waiting > 0 and not self.closed.is_set():
            waiting -= self._readable()
        self._sink = None

    def close(self) -> None:
        if not self.closed.is_set():
            asyncio.get_running_loop().remove_reader(self._reading)
            os.close(self._reading)
            self.closed.set()

    def _readable(self) -> int:
        try:
            data = os.read(self._reading, _READ_SIZE)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self.close()
        elif self._sink is not None:
            self._sink(data)
        return len(data)


class Inlet:
    """The writing end of a child's standard input. A writer waits while the child does not read."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._turn = asyncio.Lock()
        self._room: asyncio.Future[None] | None = None
        os.set_blocking(fd, False)

    @property
    def open(self) -> bool:
        return self._fd >= 0

    async def write(self, data: bytes) -> bool:
        """False when the child does not take any more."""
        async with self._turn:
            rest = memoryview(data)
            while rest:
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:
                    await self._wait_for_room()
                except OSError:
                    return False
            return self.open

    async def finish(self) -> None:
        """End of input, after what is being written."""
        async with self._turn:
            self.close()

    def close(self) -> None:
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        asyncio.get_running_loop().remove_writer(fd)
        os.close(fd)
        if self._room is not None:
            _resolve(self._room)

    async def _wait_for_room(self) -> None:
        loop = asyncio.get_running_loop()
        room = self._room = loop.create_future()
        loop.add_writer(self._fd, _resolve, room)
        try:
            await room
        finally:
            if self._fd >= 0:
                loop.remove_writer(self._fd)


class Child:
    """A started program. Raises OSError from the constructor when it cannot be started."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdout: int | IO[bytes],
        stderr: int | IO[bytes],
        stdin: int = subprocess.PIPE,
    ) -> None:
        self._process = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True, bufsize=0
        )
        self.pid = self._process.pid
        self.stdin: Inlet | None = None
        if self._process.stdin is not None:
            self.stdin = Inlet(os.dup(self._process.stdin.fileno()))
            self._process.stdin.close()
        own.add(self.pid)

    async def wait(self) -> int:
        """The exit code as a shell counts: 128 and more for a signal."""
        if self._process.returncode is None:
            await _gone(self._process)
        own.discard(self.pid)
        code = self._process.returncode
        return code if code >= 0 else 128 - code


own: set[int] = set()
"""Children somebody waits for; whatever else appears as a child is an orphan and is reaped by `reaper`."""


async def _gone(process: subprocess.Popen[bytes]) -> None:
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        await asyncio.to_thread(process.wait)
        return
    loop = asyncio.get_running_loop()
    exited: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _resolve, exited)
    try:
        await exited
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    with contextlib.suppress(ChildProcessError):
        process.wait()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
