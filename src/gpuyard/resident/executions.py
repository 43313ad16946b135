"""The executions of an instance: started once per id, remembered on its disk, with a journal that outlives everything."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import signal
import time
from pathlib import Path

import psutil

from gpuyard.resident import execution_tree
from gpuyard.resident.errors import not_found, of_disk, wrong_field, wrong_state
from gpuyard.resident.execution import Ending, Execution, Run
from gpuyard.resident.execution_process import ProcessRun
from gpuyard.resident.instance import Instance
from gpuyard.resident.journal import Journal, Reserve, repair
from gpuyard.resident.kernel_run import KernelRun
from gpuyard.resident.kernels import Kernels
from gpuyard.resident.names import EXECUTION_ID, EXECUTION_ID_RULE, KERNEL_ID, KERNEL_ID_RULE
from gpuyard.resident.wire import ExecutionRequest

log = logging.getLogger("gpuyard.resident")

RESIDENT_RESTARTED = 255
"""The exit code of an execution whose end nobody saw."""


class Executions:
    """All executions of this instance, of this run of the resident and of earlier ones."""

    def __init__(self, instance: Instance, kernels: Kernels) -> None:
        self._instance = instance
        self._kernels = kernels
        self._home = instance.residence.state / "executions"
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._all: dict[str, Execution] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reserve = Reserve(self._home.parent / "reserve")
        self._take_up()

    def listed(self) -> list[Execution]:
        """The oldest first."""
        return sorted(self._all.values(), key=lambda execution: execution.started_at)

    def running(self) -> bool:
        return bool(self._tasks)

    def get(self, id: str) -> Execution:
        execution = self._all.get(id)
        if execution is None:
            raise not_found(f"no execution {id!r} in this instance")
        return execution

    def start(self, id: str, request: ExecutionRequest) -> tuple[Execution, bool]:
        """Start it, or find it: the same id never runs twice, not even after a restart of the resident."""
        if id in self._all:
            return self._all[id], False
        if not EXECUTION_ID.fullmatch(id):
            raise wrong_field("id", f"id: {id!r} is not {EXECUTION_ID_RULE}")
        if self._instance.ending.is_set():
            raise wrong_state("the instance is shutting down")
        self._check(request)
        execution = self._write_down(id, request)
        execution.run = self._run_for(execution)
        task = asyncio.create_task(self._carry_out(execution, execution.run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return execution, True

    def forget(self, id: str) -> None:
        execution = self.get(id)
        if not execution.ended:
            raise wrong_state(f"execution {id} still runs", hint="signal it first")
        del self._all[id]
        execution.journal.close()
        shutil.rmtree(execution.directory, ignore_errors=True)

    async def close(self) -> None:
        """After the programs have ended: wait for their last output, then leave every journal complete."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)
        for execution in self._all.values():
            if not execution.ended:
                execution.end(Ending(RESIDENT_RESTARTED, "cancelled"))

    def give_up(self) -> None:
        """Nothing starts any more, and what runs now ends as cancelled."""
        for execution in self._all.values():
            if execution.run is not None:
                execution.run.give_up()

    def _check(self, request: ExecutionRequest) -> None:
        if request.kind == "argv" and not request.argv:
            raise wrong_field("argv", "argv must name a program")
        if request.kind != "argv" and request.argv:
            raise wrong_field("argv", f"argv is for kind `argv`; kind `{request.kind}` takes code")
        if not KERNEL_ID.fullmatch(request.kernel):
            raise wrong_field("kernel", f"kernel: {request.kernel!r} is not {KERNEL_ID_RULE}")
        texts = [*request.argv, *request.env, *request.env.values()]
        if any("\0" in text for text in texts):
            raise wrong_field("argv" if request.argv else "env", "a NUL character cannot be passed to a program")
        if any("=" in name or not name for name in request.env):
            raise wrong_field("env", "a variable's name is not empty and has no `=`")
        if request.cwd is not None and not self._instance.directory(request.cwd).is_dir():
            raise wrong_field("cwd", f"cwd: {request.cwd!r} is not a directory of the instance")

    def _run_for(self, execution: Execution) -> Run:
        if execution.request.kind == "python" and not execution.request.detached:
            return KernelRun(self._instance, self._kernels, execution)
        return ProcessRun(self._instance, execution)

    async def _carry_out(self, execution: Execution, run: Run) -> None:
        self._instance.touch()
        try:
            ending = await run.run()
        except Exception as error:
            log.exception("execution %s", execution.id)
            execution.journal.text("stderr", f"gpuyard: {type(error).__name__}: {error}\n")
            ending = Ending(1)
        execution.end(ending)
        self._instance.touch()

    # what stays on disk

    def _write_down(self, id: str, request: ExecutionRequest) -> Execution:
        directory = self._home / id
        draft = self._home / f".{id}"
        started_at = time.time()
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(mode=0o700)
            kept = {"started_at": started_at, "request": request.model_dump()}
            (draft / "request.json").write_text(json.dumps(kept))
            draft.rename(directory)
            journal = self._journal(directory)
        except OSError as error:
            raise of_disk(error, what=f"execution {id}") or error from None
        execution = Execution(id, request, started_at, directory, journal)
        self._all[id] = execution
        return execution

    def _journal(self, directory: Path) -> Journal:
        return Journal(
            directory / "journal.ndjson", self._instance.residence.journal_limit_bytes, reserve=self._reserve
        )

    def _take_up(self) -> None:
        """Know again what earlier runs of the resident left; end what was running, whose output nobody reads."""
        lost = []
        for directory in self._home.iterdir():
            if directory.name.startswith("."):
                shutil.rmtree(directory, ignore_errors=True)
                continue
            try:
                kept = json.loads((directory / "request.json").read_bytes())
                request = ExecutionRequest.model_validate(kept["request"])
            except (OSError, ValueError, KeyError) as error:
                log.warning("%s is left alone: %s", directory, error)
                continue
            last = repair(directory / "journal.ndjson")
            journal = self._journal(directory)
            execution = Execution(directory.name, request, kept["started_at"], directory, journal)
            self._all[execution.id] = execution
            if last is not None and last["s"] == "exit":
                execution.ending = Ending(last["code"], last["reason"], _result(directory))
                execution.ended_at = last["t"]
                journal.close()
            else:
                lost.append(execution)
        if lost:
            _end_leftovers({execution.id for execution in lost})
        for execution in lost:
            execution.end(Ending(RESIDENT_RESTARTED, "resident_restarted"))


def _end_leftovers(marks: set[str]) -> None:
    left = [pid for pid in psutil.pids() if any(execution_tree.carries(pid, mark) for mark in marks)]
    execution_tree.send(left, signal.SIGKILL)


def _result(directory: Path) -> str | None:
    try:
        result: str | None = json.loads((directory / "result.json").read_bytes())
    except (OSError, ValueError):
        return None
    return result
