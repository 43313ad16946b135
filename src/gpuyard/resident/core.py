"""The resident: an instance, what runs in it, who may ask for it, and what must end with it."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable

import psutil

from gpuyard.resident import execution_tree
from gpuyard.resident.executions import Executions
from gpuyard.resident.instance import Instance
from gpuyard.resident.kernels import Kernels
from gpuyard.resident.wire import ResidentConfig

log = logging.getLogger("gpuyard.resident")


class Resident:
    """The state every route shares. Made once per process, before the first request: what an earlier run left unfinished
    ends then, not when somebody first asks."""

    def __init__(self, config: ResidentConfig) -> None:
        self.config = config
        self.instance = Instance(config.residence, config.assignment)
        self.kernels = Kernels(self.instance)
        self.executions = Executions(self.instance, self.kernels)
        self.grace_seconds = 5.0
        self._farewells: list[Callable[[], Awaitable[None]]] = []

    # who may ask

    @property
    def secret(self) -> str:
        """What every request must present: the instance's own, or the one this resident was started with."""
        assignment = self.instance.assignment
        return (assignment and assignment.secret) or self.config.secret

    def admits(self, presented: str, *, to_assign: bool = False) -> bool:
        """Compared in constant time. The first secret still opens `POST /assign`: its reply may have been lost."""
        given = presented.encode("latin-1", "replace")
        answers = [hmac.compare_digest(given, self.secret.encode())]
        if to_assign:
            answers.append(hmac.compare_digest(given, self.config.secret.encode()))
        return any(answers)

    # what runs

    @property
    def active_at(self) -> float:
        """When something last ran, was typed or was transferred: now, while an execution runs."""
        if self.executions.running():
            self.instance.touch()
        return self.instance.touched_at

    def process_pids(self) -> set[int]:
        """Every program of the instance: all descendants, the daemonised too (they come back to the resident)."""
        return {child.pid for child in psutil.Process().children(recursive=True)}

    # the end

    def on_shutdown(self, callback: Callable[[], Awaitable[None]]) -> None:
        """`callback` is awaited once, before the programs of the instance are ended. It should take under a second."""
        self._farewells.append(callback)

    def leave(self, grace_seconds: float | None = None) -> None:
        """Ask the process to end everything and exit; returns at once."""
        if grace_seconds is not None:
            self.grace_seconds = grace_seconds
        self.instance.ending.set()

    async def close(self) -> None:
        """After `leave`: end all that runs, TERM first and KILL after the grace, and leave every journal complete on disk."""
        farewells = [asyncio.wait_for(callback(), timeout=5) for callback in self._farewells]
        for outcome in await asyncio.gather(*farewells, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.warning("something did not end cleanly", exc_info=outcome)
        self.executions.give_up()
        await execution_tree.end(self.process_pids, self.grace_seconds)
        await self.kernels.close()
        await self.executions.close()
