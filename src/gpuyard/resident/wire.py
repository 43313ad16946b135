"""The resident's configuration and the shapes of its protocol (docs/resident.md), for it and for the server."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

PROTOCOL = 1
SECRET_HEADER = "X-Resident-Secret"


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GrantedGpu(_Shape):
    """One card of the instance, as its programs see it. `index` is the host's, for CUDA_VISIBLE_DEVICES."""

    index: int
    uuid: str
    name: str
    slug: str
    memory_mb: int
    simulated: bool


class Assignment(_Shape):
    """What makes a resident the resident of one instance: the body of `POST /assign`."""

    instance_id: str
    short_id: str
    name: str
    secret: str = Field(repr=False)
    app_password: str = Field(repr=False)
    env: dict[str, str] = {}
    gpus: list[GrantedGpu] = []
    vcpus: int = 2
    ram_gb: int = 4
    disk_gb: int = 20


class Residence(_Shape):
    """Where a resident lives: known before it has an instance."""

    socket: str | None = None
    host: str | None = None
    port: int | None = None
    root: Path | None = None
    """The directory that stands for the instance's own `/`; None when a sandbox makes it the real one."""
    workspace: Path = Path("/workspace")
    home: Path = Path("/home/coder")
    tmp: Path = Path("/tmp")
    state: Path
    """Journals and the resident's own files; not for the programs of the instance."""
    journal_limit_bytes: int = 256 * 1024 * 1024


class ResidentConfig(_Shape):
    """The configuration file. Warm: a residence without an assignment yet."""

    residence: Residence
    secret: str = Field(repr=False)
    """What `POST /assign` must present; an assignment brings the instance's own secret, which replaces it."""
    assignment: Assignment | None = None

    @property
    def warm(self) -> bool:
        return self.assignment is None


class ExecutionRequest(_Shape):
    kind: Literal["python", "shell", "argv"]
    code: str = ""
    argv: list[str] = []
    kernel: str = "main"
    detached: bool = False
    timeout_seconds: float | None = Field(default=None, gt=0)
    env: dict[str, str] = {}
    cwd: str | None = None


class ExecutionView(_Shape):
    id: str
    kind: str
    state: Literal["running", "ended"]
    started_at: float
    ended_at: float | None = None
    exit_code: int | None = None
    reason: str = ""
    result: str | None = None
    journal_bytes: int = 0
