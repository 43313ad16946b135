"""Is there room now? The same decision for an order that will not wait and for one that will."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gpuyard.domain.errors import Invalid, NoCapacity, UnknownGpu, UnknownImage
from gpuyard.domain.gpus import CPU
from gpuyard.domain.ids import AccountId
from gpuyard.domain.instances import GpuRequest, Instance, InstanceSpec
from gpuyard.domain.offers import Offer, Pool, free_counts
from gpuyard.domain.placing import HOPELESS, Placed, WaitCode, Waiting, WaitReason, grantable, place
from gpuyard.ports.store import Tx
from gpuyard.services.meters import purses
from gpuyard.services.yard import Yard


def resolve(yard: Yard, spec: InstanceSpec) -> InstanceSpec:
    """The same spec with every GPU by its catalogue name, one entry per type. Raises UnknownGpu, Invalid."""
    counts: dict[str, int] = {}
    for position, asked in enumerate(spec.gpus):
        if asked.count < 1:
            raise Invalid(
                f"gpus[{position}].count is {asked.count}", field=f"gpus[{position}].count", hint="ask for one or more"
            )
        slug = yard.catalogue.resolve(asked.type, field=f"gpus[{position}].type").slug
        counts[slug] = counts.get(slug, 0) + asked.count
    return replace(spec, gpus=tuple(GpuRequest(slug, count) for slug, count in counts.items()))


def waiting_entry(instance: Instance) -> Waiting:
    """An instance as the line sees it. One with a disk must go where the disk is."""
    pinned = None
    if instance.has_disk and instance.provider is not None and instance.region is not None:
        pinned = (instance.provider, instance.region)
    return Waiting(instance.id, instance.spec, instance.placement, pinned, instance.account_id, instance.limits)


def decide(
    tx: Tx,
    instance: Instance,
    offers: Sequence[Offer],
    *,
    wait: bool,
    allow_partial: bool,
    line_is_busy: bool = False,
) -> tuple[Placed | WaitReason, InstanceSpec]:
    """Place it now, or say why it waits; with the spec that is granted, which is smaller only for `allow_partial`.

    Raises NoCapacity when it neither fits nor may wait, and UnknownGpu, UnknownImage or Invalid when waiting
    would not help. Who may wait simply joins a line that `line_is_busy`: the placer serves it in order.
    """
    if wait and line_is_busy:
        alone = _outcome((), instance, offers, {})
        if isinstance(alone, WaitReason) and alone.code in HOPELESS:
            _refuse_hopeless(alone, instance.spec, offers)
        return WaitReason(WaitCode.BEHIND_OTHERS, "others are ahead in line"), instance.spec
    in_use = tx.allocations.in_use()
    ahead = _Ahead(tx, instance)
    outcome = _outcome((), instance, offers, in_use)
    if isinstance(outcome, Placed):  # the line may be long: it is read only where there is something to keep for it
        outcome = ahead.outcome(instance, offers, in_use)
    if isinstance(outcome, Placed):
        return outcome, instance.spec
    if allow_partial and outcome.code in (WaitCode.NO_CAPACITY, WaitCode.TOO_LARGE, WaitCode.NEVER):
        granted = grantable(instance.spec, instance.placement, offers, in_use)
        if granted:
            smaller = replace(instance.spec, gpus=granted)
            partly = ahead.outcome(replace(instance, spec=smaller), offers, in_use)
            if isinstance(partly, Placed):
                return partly, smaller
    if outcome.code in HOPELESS:
        _refuse_hopeless(outcome, instance.spec, offers)
    if not wait:
        raise _no_capacity(outcome, instance.spec, offers, in_use)
    return outcome, instance.spec


class _Ahead:
    """Those who wait for any of the same GPUs and whose turn is before an instance's; read when first asked for."""

    def __init__(self, tx: Tx, instance: Instance) -> None:
        self._tx = tx
        self._instance = instance
        self._line: Sequence[Waiting] | None = None
        self._funds: Mapping[AccountId, int] = {}

    def outcome(self, instance: Instance, offers: Sequence[Offer], in_use: Mapping[Pool, int]) -> Placed | WaitReason:
        if self._line is None:
            asks = self._instance
            rivals = self._tx.instances.line(asks.spec.demand().keys())
            ahead = [other for other in rivals if other.id != asks.id and other.priority >= asks.priority]
            self._line = [waiting_entry(other) for other in ahead]
            self._funds = purses(self._tx, (other.account_id for other in ahead))
        return _outcome(self._line, instance, offers, in_use, self._funds)


def _outcome(
    ahead: Sequence[Waiting],
    instance: Instance,
    offers: Sequence[Offer],
    in_use: Mapping[Pool, int],
    funds: Mapping[AccountId, int] | None = None,
) -> Placed | WaitReason:
    asks = replace(waiting_entry(instance), payer=None)  # whether it can pay is said by an error of its own
    decided = place([*ahead, asks], offers, in_use, funds)
    for placed in decided.placed:
        if placed.instance_id == instance.id:
            return placed
    return decided.reasons[instance.id]


def _refuse_hopeless(outcome: WaitReason, spec: InstanceSpec, offers: Sequence[Offer]) -> None:
    have = sorted({offer.gpu_type for offer in offers if offer.gpu_type != CPU})
    hint = f"this yard has: {', '.join(have)}" if have else "this yard has no GPUs: see `gpuyard doctor`"
    details = {"reason": str(outcome.code), "offered": have}
    match outcome.code:
        case WaitCode.UNKNOWN_IMAGE:
            raise UnknownImage(
                outcome.text, field="image", hint="`gpuyard offers --json` lists images", details=details
            )
        case WaitCode.NEVER if any(gpu not in have for gpu in spec.demand()):
            raise UnknownGpu(outcome.text, field="gpus", hint=hint, details=details)
        case WaitCode.NEVER:
            raise Invalid(outcome.text, field="gpus", hint=hint, details=details)
        case WaitCode.PRICE:
            raise Invalid(
                outcome.text,
                field="placement.max_price_per_hour_micro",
                hint="raise the ceiling or take another GPU: `gpuyard offers`",
                details=details,
            )
        case WaitCode.PLACEMENT:
            raise Invalid(outcome.text, field="placement", hint="`gpuyard offers` shows what is where", details=details)
        case _:
            raise Invalid(
                outcome.text, field="gpus", hint="ask for less: `gpuyard offers --json` has the most", details=details
            )


def _no_capacity(
    outcome: WaitReason, spec: InstanceSpec, offers: Sequence[Offer], in_use: Mapping[Pool, int]
) -> NoCapacity:
    free: dict[str, int] = {}
    for pool, count in free_counts(offers, in_use).items():
        free[pool.gpu_type] = max(free.get(pool.gpu_type, 0), count)
    asked = spec.demand()
    short = [{"type": gpu, "asked": n, "free": free.get(gpu, 0)} for gpu, n in asked.items() if free.get(gpu, 0) < n]
    fine = [{"type": gpu, "asked": n, "free": free[gpu]} for gpu, n in asked.items() if free.get(gpu, 0) >= n]
    others = sorted(gpu for gpu, count in free.items() if count > 0 and gpu not in asked and gpu != CPU)
    missing = ", ".join(f"{item['asked']}× {item['type']} ({item['free']} free)" for item in short)
    return NoCapacity(
        f"no capacity now: {missing}" if missing else f"no capacity now: {outcome.text}",
        field="gpus",
        hint="wait in line (`wait`), take less (`allow_partial`)"
        + (f", or another GPU that is free: {', '.join(others)}" if others else ""),
        details={"unavailable": short, "available": fine, "free_elsewhere": others, "reason": str(outcome.code)},
    )
