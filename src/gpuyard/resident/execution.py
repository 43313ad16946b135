"""One execution: what was asked, what is known of it, and how any kind of it is carried out."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from gpuyard.resident.journal import Journal
from gpuyard.resident.wire import ExecutionRequest, ExecutionView

SignalName = Literal["INT", "TERM", "KILL"]

TIMED_OUT = 124
"""The exit code of an execution that ran out of time, as of `timeout(1)`."""


@dataclass(frozen=True, slots=True)
class Ending:
    code: int
    reason: str = ""
    result: str | None = None


class Run(Protocol):
    """How one kind of execution is carried out."""

    async def run(self) -> Ending:
        """Called once. All output is in the journal when it returns."""

    async def signal(self, name: SignalName) -> None: ...

    def give_up(self) -> None:
        """The instance is going: however it ends now, it was cancelled."""

    async def feed(self, data: bytes, *, eof: bool) -> bool:
        """False when its standard input is closed."""


class Execution:
    """One execution and what is known of it; `run` is there while it runs."""

    def __init__(
        self, id: str, request: ExecutionRequest, started_at: float, directory: Path, journal: Journal
    ) -> None:
        self.id = id
        self.request = request
        self.started_at = started_at
        self.directory = directory
        self.journal = journal
        self.ended_at: float | None = None
        self.ending: Ending | None = None
        self.run: Run | None = None

    @property
    def ended(self) -> bool:
        return self.ending is not None

    def view(self) -> ExecutionView:
        ending = self.ending
        return ExecutionView(
            id=self.id,
            kind=self.request.kind,
            state="ended" if ending else "running",
            started_at=self.started_at,
            ended_at=self.ended_at,
            exit_code=ending.code if ending else None,
            reason=ending.reason if ending else "",
            result=ending.result if ending else None,
            journal_bytes=self.journal.size,
        )

    def end(self, ending: Ending) -> None:
        """Write the end down: the view first, so that whoever sees the `exit` record finds the result as well."""
        self.ending, self.ended_at, self.run = ending, time.time(), None
        if ending.result is not None:
            with contextlib.suppress(OSError):  # a full disk must not keep it from ending
                (self.directory / "result.json").write_text(json.dumps(ending.result))
        self.journal.end(ending.code, ending.reason)
        self.journal.close()
