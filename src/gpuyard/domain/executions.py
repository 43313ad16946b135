"""Executions: code or a command that runs in an instance, and the journal of what it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from gpuyard.domain.ids import AccountId, ExecutionId, InstanceId
from gpuyard.domain.lifecycle import Lifecycle


class ExecutionKind(StrEnum):
    PYTHON = "python"
    """Attached: in a kernel that keeps its state. Detached: in a fresh interpreter of its own."""
    SHELL = "shell"
    """A text for bash; it may be long, so it never travels as an argument."""
    ARGV = "argv"
    """A program and its arguments, no shell in between."""


class ExecutionState(StrEnum):
    ACCEPTED = "accepted"
    """Written down; the resident may not have it yet."""
    RUNNING = "running"
    """The resident has it; its output is growing."""
    SUCCEEDED = "succeeded"
    """It ended with exit code 0."""
    FAILED = "failed"
    """A non-zero exit code, an uncaught exception, or a timeout; `reason` tells which."""
    CANCELLED = "cancelled"
    """Somebody ended it."""
    LOST = "lost"
    """The instance ended before it did."""


class ExecutionEvent(StrEnum):
    STARTED = "started"
    """The resident has it."""
    EXITED_WELL = "exited_well"
    """Exit code 0."""
    EXITED_BADLY = "exited_badly"
    """Another exit code, an exception, or its time was up."""
    CANCEL = "cancel"
    """Somebody asked it to end."""
    INSTANCE_GONE = "instance_gone"
    """Its instance stopped, failed or was deleted."""


S, E = ExecutionState, ExecutionEvent

EXECUTION_LIFECYCLE: Lifecycle[ExecutionState, ExecutionEvent] = Lifecycle(
    noun="execution",
    start=S.ACCEPTED,
    arrows={
        (S.ACCEPTED, E.STARTED): S.RUNNING,
        **{(state, E.EXITED_WELL): S.SUCCEEDED for state in (S.ACCEPTED, S.RUNNING)},
        **{(state, E.EXITED_BADLY): S.FAILED for state in (S.ACCEPTED, S.RUNNING)},
        **{(state, E.CANCEL): S.CANCELLED for state in (S.ACCEPTED, S.RUNNING)},
        **{(state, E.INSTANCE_GONE): S.LOST for state in (S.ACCEPTED, S.RUNNING)},
    },
)

EXECUTION_ENDED = frozenset({S.SUCCEEDED, S.FAILED, S.CANCELLED, S.LOST})


@dataclass(frozen=True, slots=True)
class Execution:
    id: ExecutionId
    account_id: AccountId
    instance_id: InstanceId
    kind: ExecutionKind
    state: ExecutionState
    created_at: datetime
    code: str = ""
    """The Python text, the shell text, or for `argv` empty."""
    argv: tuple[str, ...] = ()
    kernel: str = "main"
    detached: bool = False
    name: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: timedelta | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    reason: str = ""
    result: str | None = None
    """The `repr` of the last expression, for Python in a kernel."""
    output_bytes: int = 0
    """How much of the journal the yard holds."""
