"""A login shell in a pseudo-terminal: its bytes, its size, its end.

The terminal is made with the standard library's `openpty` and the shell started by `subprocess`, rather than by forking
(`os.forkpty`, `ptyprocess`): a fork copies a process that has threads, and the child may then hang on a lock that
nobody in it holds. That the shell gets a controlling terminal, without which Ctrl-C does nothing, follows from
opening the terminal by its name in a new session, which `sh` does with a redirection.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gpuyard.resident.child import Child, Inlet

_READ_SIZE = 64 * 1024
_LAST_READS = 32
_TAKE_TERMINAL = 'tty=$0; exec "$@" <>"$tty" >&0 2>&0'


class PtyProcess:
    """A running program in a terminal of `size` (columns, rows). `sink` gets its output as it comes."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        size: tuple[int, int],
        sink: Callable[[bytes], None],
    ) -> None:
        self._master, slave = os.openpty()
        try:
            os.set_blocking(self._master, False)
            self.resize(*size)
            take = ["/bin/sh", "-c", _TAKE_TERMINAL, os.ttyname(slave), *argv]
            null = subprocess.DEVNULL
            self._child = Child(take, env=env, cwd=cwd, stdin=null, stdout=null, stderr=null)
        except BaseException:
            os.close(self._master)
            os.close(slave)
            raise
        self._slave = slave
        """Held open, because until the shell has opened it by name the master would read the end of it."""
        self.pid = self._child.pid
        self._sink = sink
        self._inlet = Inlet(os.dup(self._master))
        self._reading = False
        self.resume()

    @property
    def closed(self) -> bool:
        return self._master < 0

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def write(self, data: bytes) -> bool:
        """Type into it; waits while the program does not read. False when it has ended."""
        return await self._inlet.write(data)

    def pause(self) -> None:
        """Let the program wait: nobody takes its output."""
        if self._reading:
            asyncio.get_running_loop().remove_reader(self._master)
            self._reading = False

    def resume(self) -> None:
        if not self._reading and not self.closed:
            asyncio.get_running_loop().add_reader(self._master, self._readable)
            self._reading = True

    async def wait(self) -> int:
        """The exit code, after all the program has written went to the sink. What it left behind is hung up on."""
        code = await self._child.wait()
        for _ in range(_LAST_READS):  # not for ever: what it left behind may go on writing
            if not self._readable():
                break
        self._close()
        return code

    def _readable(self) -> bool:
        try:
            data = os.read(self._master, _READ_SIZE)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: everybody has closed the other side
                raise
            data = b""
        if not data:
            self.pause()
            return False
        self._sink(data)
        return True

    def _close(self) -> None:
        self.pause()
        self._inlet.close()
        for fd in (self._slave, self._master):
            os.close(fd)
        self._master = -1
