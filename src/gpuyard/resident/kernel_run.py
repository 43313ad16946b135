"""Executions that are cells of a kernel which keeps its state."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from gpuyard.resident import kernel_records
from gpuyard.resident.execution import TIMED_OUT, Ending, Execution, SignalName
from gpuyard.resident.instance import Instance
from gpuyard.resident.kernel_process import KernelDied, KernelProcess
from gpuyard.resident.kernels import Kernel, Kernels

INTERRUPT_GRACE_SECONDS = 2.0
"""How long a cell that ran out of time may take over its KeyboardInterrupt before the kernel is restarted."""

_END_OF_INPUT = "\x04"
"""What ipykernel takes for the end of input: `input()` raises EOFError."""


class KernelRun:
    """Waits for its turn in the kernel, then runs there. Cancelled while it waits, it never runs."""

    def __init__(self, instance: Instance, kernels: Kernels, execution: Execution) -> None:
        self._instance = instance
        self._kernels = kernels
        self._execution = execution
        self._kernel: Kernel | None = None
        self._process: KernelProcess | None = None
        self._begun = asyncio.Event()
        self._cancelled = asyncio.Event()
        self._asked_to_end = ""
        self._result: str | None = None
        self._typed = b""
        self._typed_all = False
        self._asked_input = False

    async def run(self) -> Ending:
        kernel = await self._turn()
        if kernel is None:
            return Ending(130, "cancelled")
        self._kernel = kernel
        try:
            return await self._in_turn(kernel)
        finally:
            self._begun.set()
            self._process = None
            kernel.turn.release()

    async def signal(self, name: SignalName) -> None:
        self._asked_to_end = self._asked_to_end or "cancelled"
        if self._kernel is None:
            self._cancelled.set()
        elif name == "INT":
            self._kernels.soon(self._interrupt())
        else:
            self._kernels.soon(self._kernel.restart())

    def give_up(self) -> None:
        self._asked_to_end = self._asked_to_end or "cancelled"
        self._cancelled.set()

    async def feed(self, data: bytes, *, eof: bool) -> bool:
        if self._typed_all:
            return False
        self._typed += data
        self._typed_all = eof
        self._answer()
        return True

    async def _turn(self) -> Kernel | None:
        """The kernel, its turn held; None when cancelled before."""
        cancelled = asyncio.create_task(self._cancelled.wait())
        try:
            while True:
                kernel, _ = self._kernels.obtain(self._execution.request.kernel)
                mine = asyncio.create_task(kernel.turn.acquire())
                await asyncio.wait({mine, cancelled}, return_when=asyncio.FIRST_COMPLETED)
                if not mine.done():
                    mine.cancel()
                    await asyncio.wait({mine})
                if cancelled.done():
                    if not mine.cancelled():
                        kernel.turn.release()
                    return None
                if not kernel.removed:
                    return kernel
                kernel.turn.release()
        finally:
            cancelled.cancel()

    async def _in_turn(self, kernel: Kernel) -> Ending:
        request = self._execution.request
        own_place = bool(request.env) or request.cwd is not None
        try:
            self._process = process = await kernel.process()
            if self._asked_to_end:
                return Ending(130, self._asked_to_end)
            if own_place:
                cwd = self._instance.directory(request.cwd) if request.cwd is not None else None
                await kernel.prepare_for(process, request.env, cwd)
            kernel.executions += 1
            reply = await self._timed(process)
            if own_place:
                await kernel.leave(process)
            if _leaves(reply):
                # `exit()` in a cell: the next execution must not meet a kernel that is on its way out.
                await asyncio.wait({process.died}, timeout=INTERRUPT_GRACE_SECONDS)
        except KernelDied as death:
            return self._after_death(kernel, death)
        except (OSError, TimeoutError) as error:
            self._execution.journal.text("stderr", f"gpuyard: the kernel did not start: {error}\n")
            return Ending(1, "kernel_died")
        return self._after_reply(reply)

    async def _timed(self, process: KernelProcess) -> Mapping[str, Any]:
        cell = asyncio.create_task(process.execute(self._execution.request.code, self._heard))
        await asyncio.wait({cell}, timeout=self._execution.request.timeout_seconds)
        if not cell.done():
            self._asked_to_end = "timeout"
            process.interrupt()
            await asyncio.wait({cell}, timeout=INTERRUPT_GRACE_SECONDS)
        if not cell.done() and self._kernel is not None:
            self._kernels.soon(self._kernel.restart())
        return await cell

    async def _interrupt(self) -> None:
        """Not before the cell runs: ipykernel ignores an interrupt while it waits for work."""
        await self._begun.wait()
        if self._process is not None:
            self._process.interrupt()

    def _heard(self, kind: str, content: Mapping[str, Any]) -> None:
        execution = self._execution
        if kind == "execute_input":
            self._begun.set()
        elif kind == "execute_result":
            self._result = content["data"].get("text/plain")
        elif kind == "input_request":
            self._asked_input = True
        if kind == "error" and _exit_code(content) is not None:
            # `sys.exit` is no error: its number is the exit code, its message goes where Python puts it.
            kind, content = "stream", {"name": "stderr", "text": _last_message(content)}
        kernel_records.write(execution.journal, kind, content)
        if self._kernel is not None:
            kernel_records.write(self._kernel.journal, kind, content, execution.id)
        if kind == "input_request":
            self._answer()

    def _answer(self) -> None:
        """A line for a waiting `input()`: up to the line end, or all there is."""
        if not self._asked_input or self._process is None or not (self._typed or self._typed_all):
            return
        line, _, self._typed = self._typed.partition(b"\n")
        at_end = not line and not _ and self._typed_all
        self._asked_input = False
        self._process.answer(_END_OF_INPUT if at_end else line.decode(errors="replace"))

    def _after_reply(self, reply: Mapping[str, Any]) -> Ending:
        if self._asked_to_end == "timeout":
            return Ending(TIMED_OUT, "timeout")
        if reply["status"] == "ok":
            return Ending(0, "", self._result)
        if reply.get("ename") == "KeyboardInterrupt":
            return Ending(130, "cancelled")
        code = _exit_code(reply)
        return Ending(1 if code is None else code)

    def _after_death(self, kernel: Kernel, death: KernelDied) -> Ending:
        if not self._asked_to_end and death.last_words:
            self._execution.journal.text("stderr", death.last_words)
            kernel.journal.text("stderr", death.last_words, parent=self._execution.id)
        if self._asked_to_end == "timeout":
            return Ending(TIMED_OUT, "timeout")
        return Ending(death.code or 1, self._asked_to_end or "kernel_died")


def _leaves(reply: Mapping[str, Any]) -> bool:
    return any(note.get("source") == "ask_exit" and not note.get("keepkernel") for note in reply.get("payload", ()))


def _last_message(error: Mapping[str, Any]) -> str:
    value = error["evalue"]
    return "" if value in ("", "None") or value.lstrip("-").isdigit() else f"{value}\n"


def _exit_code(error: Mapping[str, Any]) -> int | None:
    """The code of a cell that ended by `sys.exit(…)`; None for any other error."""
    if error.get("ename") != "SystemExit":
        return None
    value = error.get("evalue", "")
    if value in ("", "None"):
        return 0
    return int(value) & 0xFF if value.lstrip("-").isdigit() else 1
