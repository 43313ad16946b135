"""Instances as rows: one table, and side tables for what lists are filtered by."""

from __future__ import annotations

from typing import Any

from gpuyard.domain.instances import GpuRequest, Instance, InstanceSpec, InstanceState, Limits, Placement
from gpuyard.store.statements import Params, Row
from gpuyard.store.tables import instances
from gpuyard.store.values import (
    duration_or_none,
    exact,
    from_json,
    instant,
    instant_or_none,
    micros,
    micros_or_none,
    plain,
    span_or_none,
    to_json,
)

COLUMNS = [
    c for c in instances.c if c.name not in {"live", "wake_at", "due_at", "claim_holder", "claim_token", "claim_until"}
]
"""In the order of `instance_of`."""

NEVER_CHANGES = {"id", "short_id", "account_id", "created_by", "created_at"}


def row_of(instance: Instance) -> dict[str, Any]:
    return {
        "id": instance.id,
        "short_id": instance.short_id,
        "account_id": instance.account_id,
        "created_by": instance.created_by,
        "name": instance.name,
        "state": instance.state.value,
        "entered_at": micros(instance.entered_at),
        "created_at": micros(instance.created_at),
        "spec": _spec_json(instance.spec),
        "state_reason": plain(instance.state_reason),
        "labels": to_json(dict(instance.labels)),
        "limits": _limits_json(instance.limits),
        "placement": _placement_json(instance.placement),
        "priority": instance.priority,
        "provider": instance.provider,
        "region": instance.region,
        "simulated": int(instance.simulated),
        "price_per_hour_micro": instance.price_per_hour_micro,
        "running_at": micros_or_none(instance.running_at),
        "has_disk": int(instance.has_disk),
        "may_wait": int(instance.may_wait),
        "live": int(instance.state is not InstanceState.DELETED),
    }


def instance_of(row: Row) -> Instance:
    (own_id, short_id, account_id, created_by, name, state, entered_at, created_at, spec, state_reason) = row[:10]
    (labels, limits, placement, priority, provider, region, simulated, price, running_at, has_disk, may_wait) = row[
        10:21
    ]
    return Instance(
        own_id,
        short_id,
        account_id,
        created_by,
        name,
        InstanceState(state),
        instant(entered_at),
        instant(created_at),
        _spec(spec),
        exact(state_reason),
        from_json(labels),
        _limits(limits),
        _placement(placement),
        priority,
        provider,
        region,
        bool(simulated),
        price,
        instant_or_none(running_at),
        bool(has_disk),
        bool(may_wait),
    )


def label_rows(instance: Instance, row: Params) -> list[Params]:
    return [{**_side(row), "key": key, "value": plain(value)} for key, value in instance.labels.items()]


def gpu_rows(instance: Instance, row: Params) -> list[Params]:
    return [{**_side(row), "gpu_type": gpu_type} for gpu_type in sorted(instance.spec.demand())]


def _side(row: Params) -> dict[str, Any]:
    return {
        "instance_id": row["id"],
        "account_id": row["account_id"],
        "live": row["live"],
        "created_at": row["created_at"],
    }


def _spec_json(spec: InstanceSpec) -> str:
    return to_json(
        {
            "gpus": [[gpu.type, gpu.count] for gpu in spec.gpus],
            "vcpus": spec.vcpus,
            "ram_gb": spec.ram_gb,
            "disk_gb": spec.disk_gb,
            "image": spec.image,
            "env": dict(spec.env),
            "ports": list(spec.ports),
        }
    )


def _spec(stored: str) -> InstanceSpec:
    found = from_json(stored)
    return InstanceSpec(
        tuple(GpuRequest(gpu_type, count) for gpu_type, count in found["gpus"]),
        found["vcpus"],
        found["ram_gb"],
        found["disk_gb"],
        found["image"],
        found["env"],
        tuple(found["ports"]),
    )


_NO_LIMITS, _ANYWHERE = Limits(), Placement()


def _limits_json(limits: Limits) -> str:
    if limits == _NO_LIMITS:
        return "{}"
    return to_json(
        {
            "max_cost_micro": limits.max_cost_micro,
            "max_duration": span_or_none(limits.max_duration),
            "max_idle": span_or_none(limits.max_idle),
            "max_start": span_or_none(limits.max_start),
        }
    )


def _limits(stored: str) -> Limits:
    if stored == "{}":
        return _NO_LIMITS
    found = from_json(stored)
    return Limits(
        found["max_cost_micro"],
        duration_or_none(found["max_duration"]),
        duration_or_none(found["max_idle"]),
        duration_or_none(found["max_start"]),
    )


def _placement_json(placement: Placement) -> str:
    if placement == _ANYWHERE:
        return "{}"
    return to_json(
        {
            "providers": list(placement.providers),
            "regions": list(placement.regions),
            "max_price_per_hour_micro": placement.max_price_per_hour_micro,
        }
    )


def _placement(stored: str) -> Placement:
    if stored == "{}":
        return _ANYWHERE
    found = from_json(stored)
    return Placement(tuple(found["providers"]), tuple(found["regions"]), found["max_price_per_hour_micro"])
