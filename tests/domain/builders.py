"""Domain values that state only what matters to a test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gpuyard.domain.ids import AccountId, InstanceId, IntervalId, KeyId, short_id
from gpuyard.domain.instances import GpuRequest, Instance, InstanceSpec, InstanceState, Placement
from gpuyard.domain.ledger import UsageInterval
from gpuyard.domain.offers import Offer
from gpuyard.domain.placing import Waiting

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ACCOUNT = AccountId("acct_1")
ANYWHERE = Placement()


def an_instance(state: InstanceState, *, for_the_last: timedelta = timedelta()) -> Instance:
    instance_id = InstanceId("inst_0123456789abcdef01234567")
    return Instance(
        id=instance_id,
        short_id=short_id(instance_id),
        account_id=ACCOUNT,
        created_by=KeyId("key_1"),
        name="fern",
        state=state,
        entered_at=NOW - for_the_last,
        created_at=NOW - for_the_last,
        spec=InstanceSpec(gpus=(GpuRequest("nvidia-rtx-4090"),)),
    )


def an_offer(
    gpu_type: str = "rtx",
    *,
    provider: str = "local",
    region: str = "here",
    price: int = 100,
    total: int | None = 1,
    available: int | None = None,
    simulated: bool = False,
    vcpus_max: int = 256,
    images: frozenset[str] | None = None,
) -> Offer:
    return Offer(
        provider=provider,
        region=region,
        gpu_type=gpu_type,
        gpu_name=gpu_type.upper(),
        gpu_memory_gb=24,
        price_per_hour_micro=price,
        total=total,
        available=(total or 0) if available is None else available,
        seen_at=NOW,
        simulated=simulated,
        vcpus_max=vcpus_max,
        images=images,
    )


def in_line(
    id: str,
    *gpus: tuple[str, int],
    placement: Placement = ANYWHERE,
    pinned: tuple[str, str] | None = None,
    vcpus: int = 2,
    image: str = "python",
) -> Waiting:
    """One that waits for `gpus`; for one `rtx` when none is named."""
    asked = gpus or (("rtx", 1),)
    spec = InstanceSpec(tuple(GpuRequest(gpu, count) for gpu, count in asked), vcpus=vcpus, image=image)
    return Waiting(InstanceId(id), spec, placement, pinned)


def an_interval(*, price: int, lasted: timedelta | None = None, charged: int = 0) -> UsageInterval:
    return UsageInterval(
        id=IntervalId("use_1"),
        account_id=ACCOUNT,
        instance_id=InstanceId("inst_1"),
        price_per_hour_micro=price,
        started_at=NOW,
        ended_at=None if lasted is None else NOW + lasted,
        charged_micro=charged,
    )
