"""From what a caller sent to what a use case takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Header
from pydantic import BaseModel

from gpuyard.domain.errors import Invalid
from gpuyard.domain.executions import ExecutionKind
from gpuyard.domain.instances import GpuRequest, InstanceSpec, Limits, Placement
from gpuyard.services.executions import ExecutionOrder
from gpuyard.services.instances import CreateOrder
from gpuyard.wire import executions as execution_shapes
from gpuyard.wire import instances as shapes

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key with the same body makes one thing, however often it is sent.",
    ),
]


def digest_of(body: BaseModel) -> str:
    """Equal for requests that mean the same, whatever the order of their fields."""
    canonical = json.dumps(body.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def instance(body: shapes.CreateInstance, idempotency_key: str | None) -> CreateOrder:
    return CreateOrder(
        spec=InstanceSpec(
            gpus=tuple(GpuRequest(gpu.type, gpu.count) for gpu in body.gpus),
            vcpus=body.vcpus,
            ram_gb=body.ram_gb,
            disk_gb=body.disk_gb,
            image=body.image,
            env=dict(body.env),
            ports=tuple(dict.fromkeys(body.ports)),
        ),
        name=body.name,
        labels=dict(body.labels),
        limits=limits(body.limits),
        placement=Placement(
            tuple(body.placement.providers), tuple(body.placement.regions), body.placement.max_price_per_hour_micro
        ),
        priority=body.priority,
        wait=body.wait,
        allow_partial=body.allow_partial,
        idempotency_key=idempotency_key,
        request_digest=digest_of(body) if idempotency_key is not None else "",
    )


def limits(body: shapes.LimitsRequest) -> Limits:
    return Limits(
        max_cost_micro=body.max_cost_micro,
        max_duration=seconds(body.max_duration_seconds),
        max_idle=seconds(body.max_idle_seconds),
        max_start=seconds(body.max_start_seconds),
    )


def changed_limits(body: shapes.LimitsRequest) -> dict[str, Any]:
    """Only what was sent, by our names; what was sent as null is lifted."""
    new = limits(body)
    return {field: getattr(new, field) for name, field in _LIMITS.items() if name in body.model_fields_set}


_LIMITS: Mapping[str, str] = {
    "max_cost_micro": "max_cost_micro",
    "max_duration_seconds": "max_duration",
    "max_idle_seconds": "max_idle",
    "max_start_seconds": "max_start",
}
"""The names of limits on the wire and ours."""


def execution(body: execution_shapes.CreateExecution, idempotency_key: str | None) -> ExecutionOrder:
    """Raises Invalid unless the body holds what its kind needs, and nothing of another kind."""
    needed = _TEXT_OF[body.kind]
    for name in _TEXT_OF.values():
        given = getattr(body, name) is not None
        if given != (name == needed):
            raise Invalid(
                f"an execution of kind {body.kind.value!r} "
                + (f"has no field {name!r}" if given else f"needs the field {name!r}"),
                field=name,
                hint=f"send {needed!r} and none of the others",
            )
    return ExecutionOrder(
        kind=body.kind,
        code=body.code or body.command or "",
        argv=tuple(body.argv or ()),
        kernel=body.kernel,
        detached=body.detached,
        name=body.name,
        env=dict(body.env),
        timeout=seconds(body.timeout_seconds),
        idempotency_key=idempotency_key,
        request_digest=digest_of(body) if idempotency_key is not None else "",
    )


_TEXT_OF = {ExecutionKind.PYTHON: "code", ExecutionKind.SHELL: "command", ExecutionKind.ARGV: "argv"}


def labels_of(pairs: Iterable[str]) -> dict[str, str]:
    """`["team=vision"]` → `{"team": "vision"}`. Raises Invalid."""
    labels = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Invalid(f"label is {pair!r}: it has no name and value", field="label", hint="write label=team=vision")
        labels[name] = value
    return labels


def seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)
