"""Shapes of instances and of what can be asked of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gpuyard.domain.instances import InstanceState
from gpuyard.wire.base import Instant, Reply, Request

Seconds = Annotated[float, Field(gt=0, le=10 * 365 * 86400)]
Micro = Annotated[int, Field(ge=0, le=10**15, description="Millionths of the yard's currency.")]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)]


class GpuCount(Request):
    type: str = Field(min_length=1, max_length=100, description="A slug, name or alias of the catalogue.")
    count: int = Field(default=1, ge=1, le=1024)


class LimitsRequest(Request):
    max_cost_micro: Micro | None = None
    max_duration_seconds: Seconds | None = None
    max_idle_seconds: Seconds | None = None
    max_start_seconds: Seconds | None = None


class PlacementRequest(Request):
    providers: list[str] = Field(default=[], max_length=64)
    regions: list[str] = Field(default=[], max_length=64)
    max_price_per_hour_micro: Micro | None = None


class CreateInstance(Request):
    gpus: list[GpuCount] = Field(default=[], max_length=16, description="Empty for an instance without GPUs.")
    name: str | None = Field(default=None, max_length=63)
    vcpus: int = Field(default=2, ge=1, le=1024)
    ram_gb: int = Field(default=4, ge=1, le=16384)
    disk_gb: int = Field(default=20, ge=1, le=65536)
    image: str = Field(default="python", min_length=1, max_length=500)
    env: dict[EnvName, str] = Field(default={}, max_length=256)
    labels: dict[str, str] = {}
    ports: list[Annotated[int, Field(ge=1, le=65535)]] = Field(default=[], max_length=32)
    limits: LimitsRequest = LimitsRequest()
    placement: PlacementRequest = PlacementRequest()
    priority: int = Field(default=50, ge=0, le=100)
    wait: bool = Field(default=False, description="Join the line when there is no capacity now.")
    allow_partial: bool = Field(default=False, description="Take what there is when not everything is free.")


class ChangeInstance(Request):
    """Only what is given changes. A limit given as null is lifted."""

    name: str | None = Field(default=None, max_length=63)
    labels: dict[str, str] | None = None
    limits: LimitsRequest | None = None
    priority: int | None = Field(default=None, ge=0, le=100)


class StartInstance(Request):
    wait: bool = False


class GpuView(Reply):
    type: str
    name: str
    memory_gb: int
    count: int


class LimitsView(Reply):
    max_cost_micro: int | None = None
    max_duration_seconds: float | None = None
    max_idle_seconds: float | None = None
    max_start_seconds: float | None = None


class PlacementView(Reply):
    providers: list[str] = []
    regions: list[str] = []
    max_price_per_hour_micro: int | None = None


class InstanceView(Reply):
    id: str
    short_id: str
    name: str
    state: InstanceState
    state_reason: str = ""
    entered_at: Instant
    gpus: list[GpuView]
    vcpus: int
    ram_gb: int
    disk_gb: int
    image: str
    env: dict[str, str] = {}
    ports: list[int] = []
    labels: dict[str, str] = {}
    limits: LimitsView = LimitsView()
    placement: PlacementView = PlacementView()
    priority: int = 50
    provider: str | None = None
    region: str | None = None
    simulated: bool = False
    price_per_hour_micro: int | None = None
    currency: str
    created_at: Instant
    running_at: Instant | None = None
    line_position: int | None = Field(default=None, description="1 is next; only while waiting.")
    url_path: str = Field(description="Where its applications open: /i/{short_id}/")
    app_password: str | None = Field(default=None, description="Opens the applications; shown to who may run code.")


class AttemptView(Reply):
    number: int
    first_at: Instant
    last_at: Instant
    times: int
    outcome: str
    reason: str


class WhyView(Reply):
    """Why the instance is in its state, in words, with every try to place it."""

    state: InstanceState
    reason: str
    line_position: int | None = None
    ahead: int | None = None
    attempts: list[AttemptView] = []


class UsageInterval(Reply):
    instance_id: str
    started_at: Instant
    ended_at: Instant | None
    seconds: float
    price_per_hour_micro: int
    cost_micro: int


class InstanceUsage(Reply):
    instance_id: str
    seconds: float
    cost_micro: int
    currency: str
    timings: dict[str, float | None] = Field(
        description="Seconds spent: `wait` (in line), `start` (placed to running), `run`."
    )
    intervals: list[UsageInterval]


class OpenView(Reply):
    """A link that works once: a path to put behind the yard's address."""

    url: str
    expires_at: Instant
