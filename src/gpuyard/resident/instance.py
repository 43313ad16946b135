"""The instance as its programs find it: its places, its environment, its interpreter, and whether it goes on."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

from gpuyard.resident import environment
from gpuyard.resident.errors import wrong_state
from gpuyard.resident.paths import Places
from gpuyard.resident.wire import Assignment, Residence

_WITHOUT_SECRETS = {"secret": "", "app_password": ""}

_NOBODY = Assignment(instance_id="", short_id="", name="", secret="", app_password="")
"""Stands in for the instance of a warm resident that has none yet."""


class Instance:
    """What everything that runs here shares. A warm one is not assigned to anybody yet."""

    def __init__(self, residence: Residence, assignment: Assignment | None) -> None:
        self.residence = residence
        self.touched_at = time.time()
        """When something was last seen to run, to be typed or to be transferred."""
        self.ending = asyncio.Event()
        """Set when it should end: by `POST /shutdown`, SIGTERM, or a warm resident's standard input closing."""
        self.residence.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.assignment: Assignment | None = assignment or self._remembered()

    # whose it is

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
        environment.prepare(self.residence, self.assignment)

    def environment(self) -> dict[str, str]:
        """The whole environment of a program started now; nothing of the resident's own leaks into it."""
        return environment.program_environment(self.residence, self.assignment or _NOBODY)

    @property
    def python(self) -> Path:
        """The instance's own interpreter, for kernels and for detached Python."""
        return environment.python_of(self.residence)

    def directory(self, path: str | None) -> Path:
        """The real directory a caller means; the work directory for None."""
        return Places.of(self.residence).locate(path or "", field="cwd").real

    def touch(self) -> None:
        """Something ran, was typed or was transferred just now."""
        self.touched_at = time.time()
