"""What can be had now, cheapest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpuyard.domain.accounts import Caller, Scope
from gpuyard.domain.gpus import CPU
from gpuyard.domain.offers import Offer, cheapest_first, free_counts
from gpuyard.services.yard import Yard


@dataclass(frozen=True, slots=True)
class OfferFilter:
    gpu: str | None = None
    count: int | None = None
    """At least so many free now."""
    max_price_per_hour_micro: int | None = None
    """For one GPU."""
    provider: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Available:
    offer: Offer
    free: int


async def find(yard: Yard, caller: Caller, filter: OfferFilter) -> Sequence[Available]:
    """Raises UnknownGpu for a GPU no catalogue knows."""
    caller.must(Scope.READ)
    wanted = filter.gpu
    if wanted is not None and wanted != CPU:
        wanted = yard.catalogue.resolve(wanted, field="gpu").slug
    offers = yard.offers.all
    in_use = await yard.store.read(lambda tx: tx.allocations.in_use())
    free = free_counts(offers, in_use)
    return [
        Available(offer, free[offer.pool])
        for offer in cheapest_first(offers)
        if (wanted is None or offer.gpu_type == wanted)
        and (filter.count is None or free[offer.pool] >= filter.count)
        and (filter.max_price_per_hour_micro is None or offer.price_per_hour_micro <= filter.max_price_per_hour_micro)
        and filter.provider in (None, offer.provider)
        and filter.region in (None, offer.region)
    ]
