"""Executions that are processes: a shell text, a program with its arguments, or Python in a fresh interpreter."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from functools import partial
from pathlib import Path

from gpuyard.resident import execution_tree
from gpuyard.resident.child import Child, Outlet
from gpuyard.resident.execution import TIMED_OUT, Ending, Execution, SignalName
from gpuyard.resident.instance import Instance

SIGNALS = {"INT": signal.SIGINT, "TERM": signal.SIGTERM, "KILL": signal.SIGKILL}

TIMEOUT_GRACE_SECONDS = 2.0
"""Between TERM and KILL when an execution runs out of time: enough to write a checkpoint's last block, not to linger."""

_LATE_OUTPUT_SECONDS = 0.2
"""How long after its program has ended an execution waits for others who share its pipes (`> >(tee log)`)."""

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


class ProcessRun:
    """One process in a session of its own. A program it leaves behind in the background lives on, unheard."""

    def __init__(self, instance: Instance, execution: Execution) -> None:
        self._instance = instance
        self._execution = execution
        self._child: Child | None = None
        self._started = asyncio.Event()
        self._asked_to_end = ""
        self._interrupted = False

    async def run(self) -> Ending:
        outlets = [Outlet(partial(self._heard, stream)) for stream in ("stdout", "stderr")]
        try:
            self._child = self._spawn(*outlets)
        except OSError as error:
            self._started.set()
            for outlet in outlets:
                outlet.release_writing()
                outlet.close()
            return self._could_not_start(error)
        for outlet in outlets:
            outlet.release_writing()
        self._started.set()
        code = await self._wait(self._child)
        await self._last_output(outlets)
        if self._child.stdin is not None:
            self._child.stdin.close()
        reason = self._reason(code)
        return Ending(TIMED_OUT if reason == "timeout" else code, reason)

    async def signal(self, name: SignalName) -> None:
        await self._started.wait()
        if name == "INT":
            self._interrupted = True
        else:
            self._asked_to_end = self._asked_to_end or "cancelled"
        execution_tree.send(self._tree(), SIGNALS[name])

    def give_up(self) -> None:
        self._asked_to_end = self._asked_to_end or "cancelled"

    async def feed(self, data: bytes, *, eof: bool) -> bool:
        await self._started.wait()
        inlet = self._child.stdin if self._child else None
        if inlet is None or not inlet.open:
            return False
        taken = await inlet.write(data)
        if eof:
            await inlet.finish()
        return taken

    def _spawn(self, stdout: Outlet, stderr: Outlet) -> Child:
        request = self._execution.request
        env = self._instance.environment() | request.env
        env[execution_tree.EXECUTION_MARK] = self._execution.id
        cwd = self._instance.directory(request.cwd)
        argv = [*self._argv()]
        found = argv[0] if "/" in argv[0] else shutil.which(argv[0], path=env.get("PATH"))
        if found is None:
            raise FileNotFoundError(_NOT_FOUND, "command not found", argv[0])
        argv[0] = found
        return Child(argv, env=env, cwd=cwd, stdout=stdout.writing, stderr=stderr.writing)

    def _argv(self) -> list[str]:
        request, directory = self._execution.request, self._execution.directory
        if request.kind == "argv":
            return list(request.argv)
        if request.kind == "shell":
            # From a file: an argument has a limit, is visible to everybody in the process list, and cannot hold stdin.
            script = directory / "program.sh"
            script.write_text(request.code)
            return ["bash", str(script)]
        program = directory / "program.py"
        program.write_text(request.code)
        return [str(self._instance.python), str(Path(__file__).with_name("program_main.py")), str(program)]

    def _could_not_start(self, error: OSError) -> Ending:
        name = error.filename if isinstance(error.filename, str) else self._execution.request.kind
        self._execution.journal.text("stderr", f"{name}: {error.strerror}\n")
        return Ending(_NOT_EXECUTABLE if isinstance(error, PermissionError) else _NOT_FOUND)

    async def _wait(self, child: Child) -> int:
        ended = asyncio.create_task(child.wait())
        await asyncio.wait({ended}, timeout=self._execution.request.timeout_seconds)
        if not ended.done():
            self._asked_to_end = "timeout"
            await execution_tree.end(self._tree, TIMEOUT_GRACE_SECONDS)
        return await ended

    async def _last_output(self, outlets: list[Outlet]) -> None:
        closed = asyncio.gather(*(outlet.closed.wait() for outlet in outlets))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(closed, _LATE_OUTPUT_SECONDS)
        for outlet in outlets:
            outlet.drop_the_rest()

    def _reason(self, code: int) -> str:
        if self._asked_to_end:
            return self._asked_to_end
        if self._interrupted and code == 128 + signal.SIGINT:
            return "cancelled"
        return "killed" if code == 128 + signal.SIGKILL else ""

    def _tree(self) -> set[int]:
        return execution_tree.members(self._child.pid, self._execution.id) if self._child else set()

    def _heard(self, stream: str, data: bytes) -> None:
        self._execution.journal.output(stream, data)
