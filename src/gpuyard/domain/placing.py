"""Who gets which GPUs now, and why everyone else still waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gpuyard.domain.ids import AccountId, InstanceId
from gpuyard.domain.instances import GpuRequest, InstanceSpec, Limits, Placement
from gpuyard.domain.ledger import hold_amount
from gpuyard.domain.offers import Offer, Pool, cheapest_first, free_counts


class WaitCode(StrEnum):
    NO_CAPACITY = "no_capacity"
    BEHIND_OTHERS = "behind_others"
    PRICE = "price"
    PLACEMENT = "placement"
    TOO_LARGE = "too_large"
    UNKNOWN_IMAGE = "unknown_image"
    NEVER = "never"
    """No provider of this yard has such a GPU."""
    BALANCE = "balance"
    """Its account cannot set aside what it would cost."""


HOPELESS = frozenset({WaitCode.PRICE, WaitCode.PLACEMENT, WaitCode.TOO_LARGE, WaitCode.UNKNOWN_IMAGE, WaitCode.NEVER})
"""Waiting for other people's instances to end cannot help."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One instance in line. `pinned` is where its disk is. Whose `payer` is None can pay for anything."""

    instance_id: InstanceId
    spec: InstanceSpec
    placement: Placement = Placement()
    pinned: tuple[str, str] | None = None
    payer: AccountId | None = None
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Placed:
    instance_id: InstanceId
    provider: str
    region: str
    price_per_hour_micro: int
    simulated: bool
    pools: Mapping[Pool, int]


@dataclass(frozen=True, slots=True)
class WaitReason:
    code: WaitCode
    text: str


@dataclass(frozen=True, slots=True)
class Placements:
    placed: Sequence[Placed]
    reasons: Mapping[InstanceId, WaitReason]


@dataclass(frozen=True, slots=True)
class _Passed:
    """Not now. `keeps` is what it could use and is therefore kept for it."""

    reason: WaitReason
    keeps: frozenset[Pool] = frozenset()


def place(
    waiting: Iterable[Waiting],
    offers: Sequence[Offer],
    in_use: Mapping[Pool, int],
    funds: Mapping[AccountId, int] | None = None,
) -> Placements:
    """Serve the line in the order given; whoever is passed over keeps what they wait for from those behind.

    An instance may overtake an earlier one only where it takes nothing the earlier one could use; who cannot pay could
    use nothing. `funds` is what accounts may still set aside, those without a limit left out.
    """
    purse = dict(funds or {})
    free = free_counts(offers, in_use)
    sites = _sites(offers)
    kept_for_earlier: set[Pool] = set()
    placed: list[Placed] = []
    reasons: dict[InstanceId, WaitReason] = {}
    for entry in waiting:
        outcome = _place_one(entry, sites, free, kept_for_earlier, purse)
        if isinstance(outcome, _Passed):
            reasons[entry.instance_id] = outcome.reason
            kept_for_earlier |= outcome.keeps
            continue
        placed.append(outcome)
        for pool, count in outcome.pools.items():
            free[pool] -= count
        if entry.payer is not None and entry.payer in purse:
            purse[entry.payer] -= hold_amount(outcome.price_per_hour_micro, entry.limits)
    return Placements(placed, reasons)


def grantable(
    spec: InstanceSpec, placement: Placement, offers: Sequence[Offer], in_use: Mapping[Pool, int]
) -> tuple[GpuRequest, ...]:
    """The most of `spec.gpus` that one place can give now: what `allow_partial` takes. Empty for nothing."""
    free = free_counts(offers, in_use)
    best: tuple[GpuRequest, ...] = ()
    for site in _sites(offers).values():
        if not _allowed(site, placement):
            continue
        granted = tuple(
            GpuRequest(gpu, min(asked, free[site[gpu].pool]))
            for gpu, asked in spec.demand().items()
            if gpu in site and free[site[gpu].pool] > 0
        )
        if sum(g.count for g in granted) > sum(g.count for g in best):
            best = granted
    return best


Site = Mapping[str, Offer]
"""What one provider has in one region, by GPU type."""


def _sites(offers: Iterable[Offer]) -> dict[tuple[str, str], dict[str, Offer]]:
    """Offers by (provider, region), the grain of one machine's whereabouts."""
    sites: dict[tuple[str, str], dict[str, Offer]] = {}
    for offer in cheapest_first(offers):
        sites.setdefault((offer.provider, offer.region), {})[offer.gpu_type] = offer
    return sites


def _place_one(
    entry: Waiting,
    sites: Mapping[tuple[str, str], Site],
    free: Mapping[Pool, int],
    kept: set[Pool],
    purse: Mapping[AccountId, int],
) -> Placed | _Passed:
    demand = entry.spec.demand()
    wanted = ", ".join(f"{count}× {gpu}" for gpu, count in demand.items())
    candidates = {where: site for where, site in sites.items() if all(gpu in site for gpu in demand)}
    if not candidates:
        return _passed(WaitCode.NEVER, f"no provider of this yard has {wanted} in one place")
    allowed = {
        where: site
        for where, site in candidates.items()
        if _allowed(site, entry.placement) and (entry.pinned is None or entry.pinned == where)
    }
    if not allowed:
        return _passed(WaitCode.PLACEMENT, f"{wanted} exists, but not where this instance may go")
    fitting = {where: site for where, site in allowed.items() if _fits(entry.spec, [site[gpu] for gpu in demand])}
    if not fitting:
        images = [site[gpu].images for site in allowed.values() for gpu in demand]
        if all(known is not None and entry.spec.image not in known for known in images):
            names = ", ".join(sorted(frozenset().union(*(known or () for known in images))))
            return _passed(WaitCode.UNKNOWN_IMAGE, f"no image {entry.spec.image!r} here; there is: {names}")
        return _passed(WaitCode.TOO_LARGE, f"no place gives {wanted} with that much CPU, memory, disk or GPUs")

    ceiling = entry.placement.max_price_per_hour_micro
    priced = {where: _price(site, demand) for where, site in fitting.items()}
    affordable = [where for where in fitting if ceiling is None or priced[where] <= ceiling]
    if not affordable:
        return _passed(WaitCode.PRICE, f"{wanted} costs more per hour than the ceiling set for it")

    most = purse.get(entry.payer) if entry.payer is not None else None
    if most is not None:
        affordable = [where for where in affordable if hold_amount(priced[where], entry.limits) <= most]
    if not affordable:
        return _passed(WaitCode.BALANCE, f"the account cannot set aside the money for {wanted}: add credit")

    keeps = frozenset(fitting[where][gpu].pool for where in affordable for gpu in demand)
    behind = False
    for where in sorted(affordable, key=lambda w: (priced[w], w)):
        pools = {fitting[where][gpu].pool: count for gpu, count in demand.items()}
        if any(free[pool] < count for pool, count in pools.items()):
            continue
        if any(pool in kept for pool in pools):
            behind = True
            continue
        offers = [fitting[where][gpu] for gpu in demand]
        return Placed(entry.instance_id, *where, priced[where], any(offer.simulated for offer in offers), pools)
    if behind:
        return _passed(WaitCode.BEHIND_OTHERS, f"{wanted} is free, but kept for an instance ahead in line", keeps)
    return _passed(WaitCode.NO_CAPACITY, f"{wanted} is not free now", keeps)


def _passed(code: WaitCode, text: str, keeps: frozenset[Pool] = frozenset()) -> _Passed:
    return _Passed(WaitReason(code, text), keeps)


def _allowed(site: Site, placement: Placement) -> bool:
    offer = next(iter(site.values()))
    return (not placement.providers or offer.provider in placement.providers) and (
        not placement.regions or offer.region in placement.regions
    )


def _fits(spec: InstanceSpec, offers: Sequence[Offer]) -> bool:
    demand = spec.demand()
    return all(
        spec.vcpus <= offer.vcpus_max
        and spec.ram_gb <= offer.ram_gb_max
        and spec.disk_gb <= offer.disk_gb_max
        and (offer.images is None or spec.image in offer.images)
        and (offer.total is None or demand[offer.gpu_type] <= offer.total)
        for offer in offers
    )


def _price(site: Site, demand: Mapping[str, int]) -> int:
    return sum(site[gpu].price_per_hour_micro * count for gpu, count in demand.items())
