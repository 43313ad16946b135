"""What a run cost and where its time went."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gpuyard.cli.amounts import show_gpus, show_money, show_seconds

if TYPE_CHECKING:
    from gpuyard.wire.instances import InstanceUsage, InstanceView


@dataclass(frozen=True)
class Bill:
    provider: str | None
    simulated: bool
    gpus: str
    wait_seconds: float | None
    start_seconds: float | None
    run_seconds: float | None
    price_per_hour_micro: int | None
    cost_micro: int
    currency: str

    @classmethod
    def of(cls, instance: InstanceView, usage: InstanceUsage) -> Bill:
        return cls(
            provider=instance.provider,
            simulated=instance.simulated,
            gpus=show_gpus(instance.gpus),
            wait_seconds=usage.timings.get("wait"),
            start_seconds=usage.timings.get("start"),
            run_seconds=usage.timings.get("run"),
            price_per_hour_micro=instance.price_per_hour_micro,
            cost_micro=usage.cost_micro,
            currency=usage.currency,
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[tuple[str, str]]:
        return [
            ("provided by", f"{self.provider or 'nobody'}{' (simulated GPU)' if self.simulated else ''}"),
            ("GPUs", self.gpus),
            ("wait", show_seconds(self.wait_seconds)),
            ("start", show_seconds(self.start_seconds)),
            ("run", show_seconds(self.run_seconds)),
            ("per hour", show_money(self.price_per_hour_micro, self.currency)),
            ("cost", show_money(self.cost_micro, self.currency, places=6)),
        ]
