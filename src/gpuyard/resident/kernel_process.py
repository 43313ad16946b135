"""One kernel process and the four channels to it. It lives once: a restarted kernel is another process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gpuyard.resident import execution_tree
from gpuyard.resident.child import Child

_SOCKET_PATH_LIMIT = 107
_START_SECONDS = 60.0
_ASK_AGAIN_SECONDS = 0.2
_REPLY_SECONDS = 60.0
"""A reply comes just before the kernel says it is idle; only a stalled machine keeps it longer."""

_REPLY_AFTER_INTERRUPT_SECONDS = 0.5
"""An interrupt that hits ipykernel itself, between its own lines and the user's, leaves it idle without a reply."""

_LAST_MESSAGES_SECONDS = 0.05
_LOG_TAIL = 16 * 1024
_RECEIVED_MESSAGES = 64

Heard = Callable[[str, Mapping[str, Any]], None]
"""Called with the type and content of each message that belongs to one request."""


class KernelDied(Exception):
    """The process ended; `code` as a shell counts, and what it said last on its standard error."""

    def __init__(self, code: int, last_words: str) -> None:
        super().__init__(f"the kernel ended with code {code}")
        self.code = code
        self.last_words = last_words


class KernelProcess:
    """Made by `start`. One request at a time is the caller's business."""

    def __init__(self, place: Path, argv: list[str], env: Mapping[str, str], cwd: Path) -> None:
        from jupyter_client.asynchronous.client import AsyncKernelClient
        from jupyter_client.connect import write_connection_file
        from zmq.asyncio import Context

        self.sockets = _socket_place(place)
        connection = place / "connection.json"
        connection.unlink(missing_ok=True)
        key = secrets.token_hex(32).encode()
        write_connection_file(str(connection), transport="ipc", ip=str(self.sockets / "k"), key=key)
        self._log = place / "kernel.log"
        with self._log.open("wb") as log:
            self._child = Child(
                [*argv, "-f", str(connection)], env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        context = Context()
        context.setsockopt(_rcvhwm(), _RECEIVED_MESSAGES)
        self._context = context
        self._client = AsyncKernelClient(context=context)
        self._client.load_connection_file(str(connection))
        self._client.start_channels(hb=False)
        self.pid = self._child.pid
        self.died: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.other: Callable[[str, str, Mapping[str, Any]], None] = lambda parent, kind, content: None
        """Hears what belongs to no request that still runs: a thread that prints after its cell has ended."""
        self._heard: dict[str, Heard] = {}
        self._replies: dict[str, asyncio.Future[Mapping[str, Any]]] = {}
        self._idle: dict[str, asyncio.Event] = {}
        self._audible = asyncio.Event()
        self._gone = False
        self._condemned = False
        self._interrupted = False
        self._messages = 0
        self._tasks = [
            asyncio.create_task(task) for task in (self._watch(), self._iopub(), self._shell(), self._stdin())
        ]

    @property
    def alive(self) -> bool:
        """Something can still be run in it: not when it was told to end, even while it takes its time to."""
        return not (self._gone or self._condemned)

    async def ready(self) -> None:
        """Wait until it answers and its output is heard. Raises KernelDied, also when it takes for ever."""
        async with asyncio.timeout(_START_SECONDS):
            while True:
                asked = self._client.kernel_info()
                self._replies[asked] = asyncio.get_running_loop().create_future()
                await self._or_death(self._answered(asked))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._audible.wait(), _ASK_AGAIN_SECONDS)
                    return

    async def quietly(self, code: str) -> None:
        """Run a line of our own that leaves no trace for the user."""
        await self._run(code, lambda kind, content: None, silent=True)

    async def execute(self, code: str, heard: Heard) -> Mapping[str, Any]:
        """Run a cell; returns the reply after all its output was heard. Raises KernelDied."""
        return await self._run(code, heard, silent=False)

    def answer(self, text: str) -> None:
        """To the `input()` the kernel waits in."""
        self._client.input(text)

    def interrupt(self) -> None:
        """To the whole group, as Ctrl-C in a terminal: a program the cell waits for hears it as well."""
        self._interrupted = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGINT)

    async def kill(self) -> None:
        """End it with everything it started, wait for the end, give the channels back. Again does nothing."""
        self._condemned = True
        if not self._gone:
            pids = execution_tree.members(self.pid) | {self.pid}
            execution_tree.send(pids, signal.SIGKILL)
        await asyncio.wait({self.died})
        await self._close()

    async def _close(self) -> None:
        if self._context.closed:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._client.stop_channels()
        self._context.destroy(linger=0)
        shutil.rmtree(self.sockets, ignore_errors=True)

    async def _run(self, code: str, heard: Heard, *, silent: bool) -> Mapping[str, Any]:
        request = self._client.execute(
            code, silent=silent, store_history=not silent, allow_stdin=True, stop_on_error=False
        )
        self._heard[request] = heard
        self._idle[request] = asyncio.Event()
        self._replies[request] = asyncio.get_running_loop().create_future()
        self._interrupted = False
        try:
            await self._or_death(self._idle[request].wait())
            patience = _REPLY_AFTER_INTERRUPT_SECONDS if self._interrupted else _REPLY_SECONDS
            reply: Mapping[str, Any] = await self._or_death(asyncio.wait_for(self._answered(request), patience))
            return reply
        except TimeoutError:
            return {"status": "error", "ename": "KeyboardInterrupt", "evalue": ""}
        finally:
            for kept in (self._heard, self._idle, self._replies):
                kept.pop(request, None)

    async def _answered(self, request: str) -> Mapping[str, Any]:
        reply: Mapping[str, Any] = await self._replies[request]
        return reply

    async def _or_death(self, wanted: Any) -> Any:
        task = asyncio.ensure_future(wanted)
        try:
            await asyncio.wait({task, self.died}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise KernelDied(self.died.result(), self._last_words())
        finally:
            task.cancel()

    def _last_words(self) -> str:
        try:
            return self._log.read_bytes()[-_LOG_TAIL:].decode(errors="replace")
        except OSError:
            return ""

    async def _watch(self) -> None:
        code = await self._child.wait()
        self._gone = True
        seen = -1
        while seen != self._messages:  # what it published last is still on its way through the sockets
            seen = self._messages
            await asyncio.sleep(_LAST_MESSAGES_SECONDS)
        if not self.died.done():
            self.died.set_result(code)

    async def _iopub(self) -> None:
        while True:
            message = await self._client.get_iopub_msg()
            self._audible.set()
            self._messages += 1
            parent = message["parent_header"].get("msg_id", "")
            kind, content = message["msg_type"], message["content"]
            heard = self._heard.get(parent)
            if heard is not None:
                heard(kind, content)
            else:
                self.other(parent, kind, content)
            if kind == "status" and content["execution_state"] == "idle" and parent in self._idle:
                self._idle[parent].set()

    async def _shell(self) -> None:
        while True:
            message = await self._client.get_shell_msg()
            reply = self._replies.get(message["parent_header"].get("msg_id", ""))
            if reply is not None and not reply.done():
                reply.set_result(message["content"])

    async def _stdin(self) -> None:
        while True:
            message = await self._client.get_stdin_msg()
            heard = self._heard.get(message["parent_header"].get("msg_id", ""))
            if heard is not None:
                heard(message["msg_type"], message["content"])


def _rcvhwm() -> int:
    import zmq

    return zmq.RCVHWM


def _socket_place(place: Path) -> Path:
    """A directory for the sockets whose path fits into a socket address."""
    fits = len(os.fsencode(place / "ipc-XXXXXXXX" / "k-5")) <= _SOCKET_PATH_LIMIT
    return Path(tempfile.mkdtemp(prefix="ipc-", dir=place if fits else None))
