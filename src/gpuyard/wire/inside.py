"""Shapes of what happens inside an instance, as its resident tells it (docs/resident.md)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from gpuyard.wire.base import Reply, Request
from gpuyard.wire.instances import EnvName


class StartKernel(Request):
    id: str = Field(default="main", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    env: dict[EnvName, str] = {}


class SignalKernel(Request):
    signal: str = Field(pattern="^(INT|TERM|KILL|RESTART)$")


class KernelView(Reply):
    id: str
    state: str = Field(description="starting, idle, busy or dead")
    started_at: float | None = None
    executions: int = 0


class StartApp(Request):
    """Nothing for `jupyterlab`; for any other its program and the port it listens on."""

    argv: list[Annotated[str, Field(max_length=32 * 1024)]] | None = Field(default=None, max_length=1000)
    port: int | None = Field(default=None, ge=1, le=65535)


class AppView(Reply):
    name: str
    state: str = Field(description="starting, ready or dead")
    target: str | None = None


class TerminalView(Reply):
    name: str


class FileEntry(Reply):
    name: str
    path: str
    type: str = Field(description="file, directory, symlink or other")
    size: int
    modified_at: float | str
    mode: int | str


class FileListing(Reply):
    path: str
    entries: list[FileEntry]
    truncated: bool = False


class Unpacked(Reply):
    files: int
    bytes: int


class SamplesView(Reply):
    """What the resident measured last."""

    at: float | str
    active_at: float | str | None = None
    gpus: list[dict[str, Any]] = []
    cpu: dict[str, Any] = {}
    memory: dict[str, Any] = {}
    disk: dict[str, Any] = {}
    processes: list[dict[str, Any]] = []
