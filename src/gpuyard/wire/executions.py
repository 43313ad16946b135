"""Shapes of executions: what to run, how it went, and the records of its journal."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from gpuyard.domain.executions import ExecutionKind, ExecutionState
from gpuyard.wire.base import Instant, Reply, Request
from gpuyard.wire.instances import EnvName, Seconds


class CreateExecution(Request):
    kind: ExecutionKind
    code: str | None = Field(default=None, max_length=64 * 1024 * 1024, description="For `python`.")
    command: str | None = Field(default=None, max_length=64 * 1024 * 1024, description="For `shell`.")
    argv: list[Annotated[str, Field(max_length=128 * 1024)]] | None = Field(default=None, description="For `argv`.")
    kernel: str = Field(default="main", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    detached: bool = False
    name: str = Field(default="", max_length=200)
    timeout_seconds: Seconds | None = None
    env: dict[EnvName, str] = {}


class SignalExecution(Request):
    signal: str = Field(pattern="^(INT|TERM|KILL)$")


class ExecutionView(Reply):
    id: str
    instance_id: str
    kind: ExecutionKind
    state: ExecutionState
    name: str = ""
    detached: bool = False
    created_at: Instant
    started_at: Instant | None = None
    ended_at: Instant | None = None
    exit_code: int | None = None
    reason: str = ""
    result: str | None = None
    output_bytes: int = 0


class Record(Reply):
    """One line of a journal (docs/resident.md). As an SSE event its `id` is the offset after it."""

    t: float
    s: str
    d: str | None = None
    b64: str | None = None
    text: str | None = None
    data: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None
    update: str | None = None
    ename: str | None = None
    evalue: str | None = None
    traceback: str | None = None
    prompt: str | None = None
    password: bool | None = None
    bytes: int | None = None
    code: int | None = None
    reason: str | None = None
    parent: str | None = None
