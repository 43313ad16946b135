"""What a running resident knows of itself: where it lives, whose it is, what runs in it and what must end with it."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gpuyard.resident.errors import wrong_state
from gpuyard.resident.paths import Places
from gpuyard.resident.wire import Assignment, Residence, ResidentConfig

if TYPE_CHECKING:
    from gpuyard.resident.executions import Executions
    from gpuyard.resident.kernels import Kernels

log = logging.getLogger("gpuyard.resident")


_WITHOUT_SECRETS = {"secret": "", "app_password": ""}

_NOBODY = Assignment(instance_id="", short_id="", name="", secret="", app_password="")
"""Stands in for the instance of a warm resident that has none yet."""


class Resident:
    """The state every route shares. Made once per process, before the first request."""

    def __init__(self, config: ResidentConfig) -> None:
        self.config = config
        self.residence: Residence = config.residence
        self._touched_at = time.time()
        self.ending = asyncio.Event()
        """Set when the process should go: by `POST /shutdown`, SIGTERM, or a warm resident's standard input closing."""
        self.grace_seconds = 5.0
        self._farewells: list[Callable[[], Awaitable[None]]] = []
        self._executions: Executions | None = None
        self._kernels: Kernels | None = None
        self.residence.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.assignment: Assignment | None = config.assignment or self._remembered()

    # whose it is

    @property
    def secret(self) -> str:
        """What every request must present: the instance's own, or the one this resident was started with."""
        return (self.assignment and self.assignment.secret) or self.config.secret

    def admits(self, presented: str, *, to_assign: bool = False) -> bool:
        """Compared in constant time. The first secret still opens `POST /assign`: its reply may have been lost."""
        given = presented.encode("latin-1", "replace")
        answers = [hmac.compare_digest(given, self.secret.encode())]
        if to_assign:
            answers.append(hmac.compare_digest(given, self.config.secret.encode()))
        return any(answers)

    def assign(self, assignment: Assignment) -> None:
        """Give a warm resident its instance; another instance is refused. The same again changes nothing, but for
        the secrets, which a restarted resident does not have any more."""
        if self.assignment is not None:
            if self.assignment.instance_id != assignment.instance_id:
                raise wrong_state(f"this resident already serves instance {self.assignment.instance_id}")
            if not self.assignment.secret:
                self.assignment = assignment
            return
        path = self.residence.state / "assignment.json"
        draft = path.with_suffix(".draft")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            # programs of the instance can read this file: they run as the same user
            file.write(assignment.model_copy(update=_WITHOUT_SECRETS).model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        self.assignment = assignment
        self.prepare()
        self.touch()

    def _remembered(self) -> Assignment | None:
        try:
            return Assignment.model_validate(json.loads((self.residence.state / "assignment.json").read_bytes()))
        except FileNotFoundError:
            return None

    # what its programs find

    def prepare(self) -> None:
        """Make the directories and programs an instance offers; doing it again changes nothing."""
        from gpuyard.resident import environment

        environment.prepare(self.residence, self.assignment)

    def environment(self) -> dict[str, str]:
        """The whole environment of a program started now; nothing of the resident's own leaks into it."""
        from gpuyard.resident import environment

        return environment.program_environment(self.residence, self.assignment or _NOBODY)

    @property
    def python(self) -> Path:
        """The instance's own interpreter, for kernels and for detached Python."""
        from gpuyard.resident import environment

        return environment.python_of(self.residence)

    def directory(self, path: str | None) -> Path:
        """The real directory a caller means; the work directory for None."""
        return Places.of(self.residence).locate(path or "", field="cwd").real

    # what runs

    @property
    def executions(self) -> Executions:
        if self._executions is None:
            from gpuyard.resident.executions import Executions

            self._executions = Executions(self)
        return self._executions

    @property
    def kernels(self) -> Kernels:
        if self._kernels is None:
            from gpuyard.resident.kernels import Kernels

            self._kernels = Kernels(self)
        return self._kernels

    def touch(self) -> None:
        """Something ran, was typed or was transferred just now."""
        self._touched_at = time.time()

    @property
    def active_at(self) -> float:
        """When something last ran, was typed or was transferred: now, while an execution runs."""
        if self._executions is not None and self._executions.running():
            self.touch()
        return self._touched_at

    def process_pids(self) -> set[int]:
        """Every program of the instance: all descendants, the daemonised too (they come back to the resident)."""
        import psutil

        return {child.pid for child in psutil.Process().children(recursive=True)}

    # the end

    def on_shutdown(self, callback: Callable[[], Awaitable[None]]) -> None:
        """`callback` is awaited once, before the programs of the instance are ended. It should take under a second."""
        self._farewells.append(callback)

    def leave(self, grace_seconds: float | None = None) -> None:
        """Ask the process to end everything and exit; returns at once."""
        if grace_seconds is not None:
            self.grace_seconds = grace_seconds
        self.ending.set()

    async def close(self) -> None:
        """After `leave`: end all that runs, TERM first and KILL after the grace, and leave every journal complete on disk."""
        from gpuyard.resident import execution_tree

        farewells = [asyncio.wait_for(callback(), timeout=5) for callback in self._farewells]
        for outcome in await asyncio.gather(*farewells, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.warning("something did not end cleanly", exc_info=outcome)
        if self._executions is not None:
            self._executions.give_up()
        await execution_tree.end(self.process_pids, self.grace_seconds)
        if self._kernels is not None:
            await self._kernels.close()
        if self._executions is not None:
            await self._executions.close()
