"""The kernels of an instance, by name: started on demand, one execution at a time each, fresh again after a death."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from gpuyard.resident import kernel_records
from gpuyard.resident.errors import not_found, wrong_field, wrong_state
from gpuyard.resident.instance import Instance
from gpuyard.resident.journal import Journal, repair
from gpuyard.resident.kernel_process import KernelDied, KernelProcess
from gpuyard.resident.names import KERNEL_ID, KERNEL_ID_RULE

log = logging.getLogger("gpuyard.resident")

State = Literal["starting", "idle", "busy", "dead"]

_WARM_UP_SECONDS = 0.5
_SIDE = '__import__("gpuyard_kernel")'
"""How a line of ours finds kernel_main inside a kernel without touching the user's names."""


class Kernel:
    """A named place for a kernel process. Its journal goes on when the process is replaced."""

    def __init__(self, instance: Instance, id: str, env: Mapping[str, str], place: Path) -> None:
        self.id = id
        self.turn = asyncio.Lock()
        """Held by the execution that runs; asyncio's locks are first come, first served."""
        self.started_at = time.time()
        self.executions = 0
        self.removed = False
        self._instance = instance
        self._env = env
        self._place = place
        self._process: KernelProcess | None = None
        self._starting = asyncio.Lock()
        self._has: dict[str, str] = {}
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        repair(place / "journal.ndjson")
        self.journal = Journal(place / "journal.ndjson", instance.residence.journal_limit_bytes)

    @property
    def state(self) -> State:
        if self._starting.locked():
            return "starting"
        if self._process is None or not self._process.alive:
            return "dead"
        return "busy" if self.turn.locked() else "idle"

    def view(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "state": self.state,
            "started_at": self.started_at,
            "executions": self.executions,
        }

    async def process(self) -> KernelProcess:
        """The living process with the environment of now, started if there is none. Raises KernelDied, OSError."""
        async with self._starting:
            wanted = {**self._instance.environment(), **self._env}
            if self._process is None or not self._process.alive:
                await self._end_process()
                self._process = await self._start(wanted)
                self._has = wanted
            if self._has != wanted:
                # A warm resident's kernel was started before its instance was known.
                await self._process.quietly(f"{_SIDE}.environment({_changes(self._has, wanted)!r})")
                self._has = wanted
            return self._process

    async def prepare_for(self, process: KernelProcess, env: Mapping[str, str], cwd: Path | None) -> None:
        await process.quietly(f"{_SIDE}.enter({dict(env)!r}, {None if cwd is None else str(cwd)!r})")

    async def leave(self, process: KernelProcess) -> None:
        await process.quietly(f"{_SIDE}.leave()")

    def interrupt(self) -> None:
        if self._process is not None:
            self._process.interrupt()

    async def kill(self) -> None:
        """End the process; the next execution gets a fresh one."""
        if self._process is not None:
            await self._process.kill()

    async def restart(self) -> None:
        await self.kill()
        if self.removed or self._instance.ending.is_set():
            return
        try:
            await self.process()
        except (KernelDied, OSError) as error:
            log.warning("kernel %s did not start again: %s", self.id, error)

    async def remove(self) -> None:
        self.removed = True
        await self.kill()
        self.journal.end(0, "")
        self.journal.close()
        await asyncio.to_thread(shutil.rmtree, self._place, ignore_errors=True)

    async def close(self) -> None:
        """With the resident; the journal stays."""
        self.removed = True
        await self.kill()
        self.journal.close()

    async def _end_process(self) -> None:
        if self._process is not None:
            await self._process.kill()
            self._process = None

    async def _start(self, env: Mapping[str, str]) -> KernelProcess:
        main = Path(__file__).with_name("kernel_main.py")
        argv = [str(self._instance.python), str(main)]
        self.started_at = time.time()
        own = {**env, "JPY_PARENT_PID": str(os.getpid())}  # so that it does not outlive a resident that crashed
        await asyncio.to_thread(_import_jupyter)
        process = KernelProcess(self._place, argv, own, self._instance.directory(None))
        process.other = self._late
        try:
            await process.ready()
        except BaseException:
            await process.kill()
            raise
        return process

    def _late(self, parent: str, kind: str, content: Mapping[str, Any]) -> None:
        kernel_records.write(self.journal, kind, content, parent)


class Kernels:
    """All kernels of this instance."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._home = instance.residence.state / "kernels"
        self._all: dict[str, Kernel] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Any:
        return iter(self._all.values())

    def get(self, id: str) -> Kernel:
        kernel = self._all.get(id)
        if kernel is None:
            raise not_found(f"no kernel {id!r} in this instance")
        return kernel

    def obtain(self, id: str, env: Mapping[str, str] | None = None) -> tuple[Kernel, bool]:
        """The kernel of this name, made (not started) if it is new, which the second value tells."""
        if id in self._all:
            return self._all[id], False
        if not KERNEL_ID.fullmatch(id):
            raise wrong_field("id", f"id: {id!r} is not {KERNEL_ID_RULE}")
        if self._instance.ending.is_set():
            raise wrong_state("the instance is shutting down")
        kernel = self._all[id] = Kernel(self._instance, id, env or {}, self._home / id)
        return kernel, True

    def warm_up(self) -> None:
        """Start `main` before anybody asks, once the resident has had its first moments for itself."""
        self.soon(self._warm())

    async def _warm(self) -> None:
        await asyncio.sleep(_WARM_UP_SECONDS)
        if not self._instance.ending.is_set():
            kernel, _ = self.obtain("main")
            await kernel.process()

    async def remove(self, id: str) -> None:
        kernel = self.get(id)
        del self._all[id]
        await kernel.remove()

    def soon(self, work: Any) -> None:
        """Carry on with it after the answer has been given."""
        task = asyncio.create_task(self._logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(kernel.close() for kernel in self._all.values()), return_exceptions=True)

    async def _logged(self, work: Any) -> None:
        try:
            await work
        except (KernelDied, OSError, TimeoutError) as error:
            log.warning("a kernel did not start: %s", error)


def _changes(has: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str | None]:
    gone: dict[str, str | None] = {name: None for name in has if name not in wanted}
    return gone | {name: value for name, value in wanted.items() if has.get(name) != value}


def _import_jupyter() -> None:
    """jupyter_client takes a while to import; the resident answers meanwhile."""
    import jupyter_client.asynchronous.client  # noqa: F401
    import zmq.asyncio  # noqa: F401
