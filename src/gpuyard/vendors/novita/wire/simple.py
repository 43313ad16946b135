"""The simple API at `/v1/gpu/*`: eight operations, snake_case, prices in plain dollars.

Names here are those of the simple API; two of them mean another thing in the real one (`CreateInstanceRequest`,
`CreateInstanceResponse`).
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from gpuyard.vendors.novita.wire.base import MAX_NAME, Many, Maybe, Open, SnakeShape


class InstanceType(StrEnum):
    """The types known by name; any other string may be asked for too."""

    A100_80GB = "A100_80GB"
    A100_40GB = "A100_40GB"
    A10 = "A10"
    L40 = "L40"
    RTX_4090 = "RTX_4090"
    RTX_A6000 = "RTX_A6000"


class InstanceStatus(StrEnum):
    PENDING = "PENDING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    DELETING = "DELETING"


class CreateInstanceRequest(SnakeShape):
    name: str = Field(min_length=1, max_length=MAX_NAME)
    instance_type: Open[InstanceType]
    disk_size: int | None = Field(None, gt=0)
    """GB."""


class UpdateInstanceRequest(SnakeShape):
    """What is left out keeps its value."""

    name: str | None = Field(None, min_length=1, max_length=MAX_NAME)
    disk_size: int | None = Field(None, gt=0)


class CreateInstanceResponse(SnakeShape):
    instance_id: str
    status: Open[InstanceStatus]


class Instance(SnakeShape):
    instance_id: str
    name: str = ""
    instance_type: Maybe[Open[InstanceType]] = None
    status: Open[InstanceStatus]
    disk_size: Maybe[int] = None
    created_at: str | None = None
    """RFC 3339."""


class ListInstancesResponse(SnakeShape):
    instances: Many[Instance] = []
    total: int = 0


class ActionResponse(SnakeShape):
    instance_id: str = ""
    success: bool = True
    message: str | None = None


class Price(SnakeShape):
    instance_type: Open[InstanceType]
    price_per_hour: float
    """USD."""
    available: bool = True


class PricingResponse(SnakeShape):
    pricing: Many[Price] = []
