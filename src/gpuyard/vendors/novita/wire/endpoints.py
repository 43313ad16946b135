"""Serverless endpoints (Novita API, serverless endpoints).

The API's revisions disagree on whether a part is an object or an array of one; both are read, the documented form is
written: objects for `workerConfig`, `policy`, `image` and `healthy`, an array for `ports`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from pydantic import Field

from gpuyard.vendors.novita.wire.base import IntAsText, Listing, Many, Maybe, One, Open, Shape, Sole, key
from gpuyard.vendors.novita.wire.instances import Env, EnvSetting, VolumeType


class PolicyType(StrEnum):
    """What the number of a policy counts: seconds of waiting in the queue, or requests in it."""

    queue = "queue"
    concurrency = "concurrency"


# ── Asking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class WorkerConfigRequest(Shape):
    min_num: int
    max_num: int
    free_timeout: int
    """Seconds a worker may be idle."""
    max_concurrent: int
    gpu_num: int
    request_timeout: int | None = None
    cuda_version: str | None = None


class EndpointPort(Shape):
    """The port is text here, whatever it was written as."""

    port: str


class PolicyRequest(Shape):
    type: PolicyType
    value: int


class ImageRequest(Shape):
    image: str = Field(max_length=511)
    auth_id: str | None = Field(None, max_length=255)
    command: str | None = Field(None, max_length=2047)


class ProductRequest(Shape):
    id: str


class VolumeMountRequest(Shape):
    type: VolumeType
    size: int | None = None
    id: str | None = None
    mount_path: str = Field(max_length=255)


class HealthCheckRequest(Shape):
    path: str
    initial_delay: int | None = None
    period: int | None = None
    timeout: int | None = None
    success_threshold: int | None = None
    failure_threshold: int | None = None


class Endpoint(Shape):
    """A new endpoint."""

    name: str | None = Field(None, max_length=220)
    app_name: str | None = None
    worker_config: Sole[WorkerConfigRequest]
    ports: Many[EndpointPort] = Field(min_length=1, max_length=1)
    policy: Sole[PolicyRequest]
    image: Sole[ImageRequest]
    products: Many[ProductRequest]
    rootfs_size: int = Field(100, gt=0)
    volume_mounts: Many[VolumeMountRequest] = []
    cluster_id: str | None = Field(None, max_length=255, alias="clusterID")
    envs: list[Env] | None = None
    healthy: One[HealthCheckRequest] = None


class CreateEndpointRequest(Shape):
    endpoint: Endpoint


class UpdateEndpointRequest(Shape):
    """The reference wants all of it given in full; what is left out is not sent."""

    name: str | None = Field(None, max_length=220)
    app_name: str | None = None
    worker_config: One[WorkerConfigRequest] = None
    ports: Many[EndpointPort] | None = None
    policy: One[PolicyRequest] = None
    image: One[ImageRequest] = None
    products: list[ProductRequest] | None = None
    rootfs_size: int | None = Field(None, gt=0)
    volume_mounts: list[VolumeMountRequest] | None = None
    cluster_id: str | None = Field(None, max_length=255, alias="clusterID")
    envs: list[Env] | None = None
    healthy: One[HealthCheckRequest] = None


class DrainWorkerRequest(Shape):
    worker_id: str = Field(alias="workerID")
    drain: bool = True
    """False takes it back."""


# ── Answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class EndpointState(Shape):
    """`serving` is usable. A non-empty `error` is a failure."""

    state: str | None = None
    error: str | None = None
    message: str | None = None


class WorkerConfig(Shape):
    min_num: Maybe[int] = None
    max_num: Maybe[int] = None
    free_timeout: IntAsText = None
    max_concurrent: IntAsText = None
    gpu_num: Maybe[int] = None
    request_timeout: Maybe[int] = None
    cuda_version: str | None = None


class Policy(Shape):
    type: Maybe[Open[PolicyType]] = None
    value: IntAsText = None


class Image(Shape):
    image: str | None = None
    auth_id: str | None = None
    command: str | None = None


class EndpointVolume(Shape):
    type: Maybe[Open[VolumeType]] = None
    id: str | None = None
    size: Maybe[int] = None
    mount_path: str | None = None


class Port(Shape):
    port: str | None = None


class Worker(Shape):
    """`metrics` and `health` have another type in every description of the API: they are kept as they come."""

    id: str | None = None
    state: dict[str, Any] | None = None
    log: str | None = None
    metrics: Any = None
    health: Any = None
    healthy: bool | None = None


class Product(Shape):
    id: str | None = None


class HealthCheck(Shape):
    path: str | None = None
    initial_delay: Maybe[int] = None
    period: Maybe[int] = None
    timeout: Maybe[int] = None
    success_threshold: Maybe[int] = None
    failure_threshold: Maybe[int] = None


class EndpointDetail(Shape):
    id: str | None = None
    name: str | None = None
    app_name: str | None = None
    url: str | None = None
    state: One[EndpointState] = None
    worker_config: One[WorkerConfig] = None
    policy: One[Policy] = None
    image: One[Image] = None
    rootfs_size: Maybe[int] = None
    volume_mounts: Many[EndpointVolume] | None = None
    envs: Many[EnvSetting] | None = None
    ports: Many[Port] | None = None
    workers: Many[Worker] | None = None
    products: Many[Product] | None = None
    healthy: One[HealthCheck] = None
    cluster_id: str | None = key("clusterID", "clusterId")
    log: str | None = None
    created_at: str | None = None
    updated_at: str | None = None

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any]) -> Self:
        """Bare, in an envelope, or both at once."""
        envelope = answer.get("endpoint")
        return cls.model_validate(envelope if isinstance(envelope, dict) and "id" not in answer else answer)


class ListEndpointsResponse(Listing):
    endpoints: Many[EndpointDetail] = []
    total: Maybe[int] = None
