"""The program of a kernel process: ipykernel, with output that keeps its order, loses nothing and waits for its reader.

Started by path in the instance's interpreter, so it imports nothing of ours. Against ipykernel's own streams:
what is written to stdout and stderr in turns arrives in that order (theirs are flushed each on a timer of its own);
output of child processes and C code is decoded across reads (theirs cuts characters at 1000 bytes) and arrives before the
cell is reported done; a reader that is slow slows the cell down (theirs drops messages).
"""

# ruff: noqa: E402 - the path has to be ours no longer before anything is imported
# mypy: disable-error-code="no-untyped-call, misc, attr-defined, override, arg-type"

from __future__ import annotations

import sys

del sys.path[0]  # our own directory: the modules in it are no business of the kernel's user

import codecs
import faulthandler
import fcntl
import os
import select
import struct
import termios
import threading
import time
import warnings
from typing import Any

# The debugger that comes with ipykernel otherwise warns into the first cell's output when it loads slowly.
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")

import zmq
from ipykernel.iostream import OutStream
from ipykernel.kernelapp import IPKernelApp

_FLUSH_AT = 64 * 1024
_SETTLE_SECONDS = 0.5
_QUEUED_MESSAGES = 64


class OrderedStream(OutStream):
    """stdout or stderr of a kernel."""

    flush_interval = 0.02
    by_name: dict[str, OrderedStream] = {}

    def __init__(self, session: Any, pub_thread: Any, name: str, pipe: Any = None, echo: Any = None, **kw: Any) -> None:
        self._unsent = 0
        self._taking = threading.Lock()
        self._parent: Any = None
        self._buffer: Any = None
        super().__init__(session, pub_thread, name, **kw)
        self.by_name[name] = self

    def fileno(self) -> int:
        """The watched descriptor, so that `subprocess.run(stdout=sys.stdout)` is heard as well."""
        if not self._should_watch:
            return int(super().fileno())
        return int(self._original_stdstream_fd)

    def write(self, string: str) -> int | None:
        if not self._is_master_process() or not isinstance(string, str) or self.pub_thread is None:
            result: int | None = super().write(string)
            return result
        for other in self.by_name.values():
            if other is not self and other._unsent:
                other.send()
        # As theirs, but the buffer of a cell is looked up once per flush, not once per write.
        parent = self.parent_header
        with self._buffer_lock:
            if parent is not self._parent:
                self._parent, self._buffer = parent, self._buffers[frozenset(parent.items())]
            self._buffer.write(string)
            self._unsent += len(string)
        self._schedule_flush()
        if self._unsent > _FLUSH_AT:
            self.send()
        return len(string)

    def flush(self) -> None:
        if self._is_master_process():
            self._settle()
        self.send()

    def send(self) -> None:
        super().flush()

    def _rotate_buffers(self) -> Any:
        with self._buffer_lock:
            self._unsent = 0
            self._parent = None
            return super()._rotate_buffers()

    def _settle(self) -> None:
        """Wait until what child processes wrote so far has been taken out of the pipe."""
        if not self._should_watch or threading.current_thread() is self.watch_fd_thread:
            return
        deadline = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < deadline:
            if self._taking.acquire(timeout=_SETTLE_SECONDS):
                try:
                    if not struct.unpack("i", fcntl.ioctl(self._fid, termios.FIONREAD, b"\0" * 4))[0]:
                        return
                finally:
                    self._taking.release()
            time.sleep(0.0002)  # noqa: TID251 - a thread of the kernel; the watcher needs the moment

    def _watch_pipe_fd(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        poll = select.poll()
        poll.register(self._fid, select.POLLIN)
        while self._should_watch:
            poll.poll()
            with self._taking:
                data = os.read(self._fid, _FLUSH_AT)
                if not data or not self._should_watch:
                    return
                text = decoder.decode(data)
                if text:
                    self.write(text)


class KernelApp(IPKernelApp):
    """ipykernel's application with a publisher that waits rather than drops."""

    def _bind_socket(self, s: Any, port: int) -> Any:
        if s.socket_type in (zmq.PUB, zmq.XPUB):
            s.setsockopt(zmq.XPUB_NODROP, 1)
            s.setsockopt(zmq.SNDHWM, _QUEUED_MESSAGES)
        return super()._bind_socket(s, port)


_before: tuple[dict[str, str | None], str] | None = None


def environment(wanted: dict[str, str | None]) -> dict[str, str | None]:
    """Set variables, or unset those that are None; returns what was there."""
    before = {name: os.environ.get(name) for name in wanted}
    for name, value in wanted.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    return before


def enter(env: dict[str, str], cwd: str | None) -> None:
    """Before one execution that asked for variables or a directory of its own."""
    global _before  # noqa: PLW0603 - one kernel runs one execution at a time
    _before = environment(dict(env)), os.getcwd()  # noqa: PTH109 - a string is what is given back
    if cwd is not None:
        os.chdir(cwd)


def leave() -> None:
    """After it: as it was."""
    global _before  # noqa: PLW0603
    if _before is not None:
        environment(_before[0])
        os.chdir(_before[1])
        _before = None


def main() -> None:
    sys.modules["gpuyard_kernel"] = sys.modules["__main__"]  # under this name the resident and the settings find us
    app = KernelApp.instance(outstream_class="gpuyard_kernel.OrderedStream", quiet=True)
    app.config.InteractiveShell.colors = "nocolor"  # a journal is read by programs and terminals alike
    app.config.HistoryManager.enabled = False  # the journal is the history; a database per kernel costs start-up time
    warnings.filterwarnings("ignore", message="To exit: use 'exit'")  # it is a program's end as often as a mistake
    app.initialize()
    stderr = sys.stderr
    if isinstance(stderr, OrderedStream) and stderr._should_watch:
        # The pipe's reader dies with the process; a crash must be told to the original standard error.
        faulthandler.enable(file=stderr._original_stdstream_copy, all_threads=False)
    app.start()


if __name__ == "__main__":
    main()
