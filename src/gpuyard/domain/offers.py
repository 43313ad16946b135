"""Offers: what providers say they have, for how much, now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Pool(NamedTuple):
    """Interchangeable GPUs: the grain at which capacity is counted."""

    provider: str
    region: str
    gpu_type: str


@dataclass(frozen=True, slots=True)
class Offer:
    """One pool of GPUs as its provider describes it at `seen_at`. A value, never a promise."""

    provider: str
    region: str
    gpu_type: str
    gpu_name: str
    gpu_memory_gb: int
    price_per_hour_micro: int
    """For one GPU with its share of CPU and memory."""
    total: int | None
    """How many exist, where the yard owns them all and counts what is in use itself; None for a cloud."""
    available: int
    """How many the provider says are free. For an owned pool the yard's own count is stricter."""
    seen_at: datetime
    simulated: bool = False
    vcpus_max: int = 256
    ram_gb_max: int = 4096
    disk_gb_max: int = 16384
    images: frozenset[str] | None = None
    """The images this pool can start; None for any (a container registry decides)."""
    full: bool = False
    """It refused an order for want of room a moment ago: whatever it says, nothing is promised from it now."""

    @property
    def pool(self) -> Pool:
        return Pool(self.provider, self.region, self.gpu_type)

    @property
    def id(self) -> str:
        return f"{self.provider}:{self.region}:{self.gpu_type}"


def free_counts(offers: Iterable[Offer], in_use: Mapping[Pool, int]) -> dict[Pool, int]:
    """GPUs that may still be promised, per pool.

    An owned pool is counted by us (total minus every promise, whether or not the machine is up yet);
    for a cloud only its own word counts, and its refusal is an answer we are ready for.
    """
    return {offer.pool: _free(offer, in_use.get(offer.pool, 0)) for offer in offers}


def _free(offer: Offer, in_use: int) -> int:
    if offer.full:
        return 0
    return max(offer.available if offer.total is None else offer.total - in_use, 0)


def cheapest_first(offers: Iterable[Offer]) -> Sequence[Offer]:
    return sorted(offers, key=lambda o: (o.price_per_hour_micro, o.simulated, o.provider, o.region, o.gpu_type))
