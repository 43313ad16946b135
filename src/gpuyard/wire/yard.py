"""Shapes of offers, providers, money and events."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gpuyard.wire.base import Instant, Reply


class OfferView(Reply):
    id: str
    provider: str
    region: str
    gpu_type: str
    gpu_name: str
    gpu_memory_gb: int
    price_per_hour_micro: int
    currency: str
    available: int
    total: int | None = None
    simulated: bool = False
    vcpus_max: int
    ram_gb_max: int
    disk_gb_max: int
    images: list[str] | None = None


class ProviderView(Reply):
    name: str
    healthy: bool
    problem: str | None = None
    warnings: list[str] = []
    seen_at: Instant | None = None
    capabilities: list[str] = []
    gpus_total: int | None = None
    gpus_in_use: int = 0


class BalanceView(Reply):
    balance_micro: int
    held_micro: int
    credit_micro: int | None = None
    running_per_hour_micro: int
    currency: str


class LedgerEntryView(Reply):
    kind: str
    amount_micro: int
    at: Instant
    instance_id: str | None = None
    reason: str = ""


class InstanceCost(Reply):
    instance_id: str
    name: str
    seconds: float
    cost_micro: int


class UsageView(Reply):
    start: Instant
    end: Instant
    seconds: float
    cost_micro: int
    currency: str
    instances: list[InstanceCost]


class EventView(Reply):
    seq: int
    subject: str
    kind: str
    at: Instant
    data: dict[str, Any] = Field(default={})


class GpuKind(Reply):
    """A card of the catalogue, whether or not anybody offers it."""

    type: str
    name: str
    memory_gb: int
    vendor: str
    architecture: str
    compute_capability: str | None = None
    aliases: list[str] = []
