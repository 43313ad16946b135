"""Shapes of what happens inside an instance, as its resident tells it (docs/resident.md)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

from gpuyard.wire.base import Instant, Reply, Request
from gpuyard.wire.instances import EnvName

UnixSeconds = Annotated[Instant, WithJsonSchema({"type": "number", "description": "Seconds since 1970."})]
"""A resident tells instants as numbers; here they are aware UTC all the same."""


class StartKernel(Request):
    id: str = Field(default="main", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    env: dict[EnvName, str] = {}


class SignalKernel(Request):
    signal: str = Field(pattern="^(INT|TERM|KILL|RESTART)$")


class KernelView(Reply):
    id: str
    state: str = Field(description="starting, idle, busy or dead")
    started_at: UnixSeconds | None = None
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
    modified_at: UnixSeconds | None = None
    mode: str | None = None


class FileListing(Reply):
    path: str
    entries: list[FileEntry]
    truncated: bool = False


class Unpacked(Reply):
    files: int
    bytes: int


class GpuSample(Reply):
    index: int
    uuid: str
    name: str
    memory_total_mb: float
    memory_used_mb: float
    utilization_percent: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    simulated: bool = False


class CpuSample(Reply):
    percent: float
    cores: float
    limit_cores: float | None = None


class SpaceSample(Reply):
    used_mb: float
    limit_mb: float | None = None


class ProcessSample(Reply):
    pid: int
    name: str
    cpu_percent: float
    memory_mb: float
    gpu_memory_mb: float | None = None


class SamplesView(Reply):
    """What the resident measured last."""

    at: UnixSeconds
    active_at: UnixSeconds | None = None
    gpus: list[GpuSample] = []
    cpu: CpuSample
    memory: SpaceSample
    disk: SpaceSample
    processes: list[ProcessSample] = []
