"""What every use case needs, gathered once by the server's wiring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gpuyard.domain.gpus import GpuCatalogue
from gpuyard.domain.ids import InstanceId
from gpuyard.domain.instances import Instance
from gpuyard.ports.clock import Clock
from gpuyard.ports.provider import Order, Provider
from gpuyard.ports.residents import Journals, Residents
from gpuyard.ports.store import Store
from gpuyard.services.hints import Hints
from gpuyard.services.known_keys import KnownKeys
from gpuyard.services.offerbook import OfferBook
from gpuyard.services.secrets import YardSecret


@dataclass(frozen=True)
class Yard:
    store: Store
    clock: Clock
    catalogue: GpuCatalogue
    providers: Mapping[str, Provider]
    residents: Residents
    journals: Journals
    secret: YardSecret
    currency: str = "EUR"
    offers: OfferBook = field(default_factory=OfferBook)
    hints: Hints = field(default_factory=Hints)
    known_keys: KnownKeys = field(default_factory=KnownKeys)
    line_positions: dict[InstanceId, int] = field(default_factory=dict)
    """Place in line as of the placer's last look: 1 is next. Good enough to show, not to decide by."""

    def order_for(self, instance: Instance) -> Order:
        """What a provider is told about a placed instance."""
        assert instance.region is not None, "only a placed instance is ordered"
        return Order(
            instance_id=instance.id,
            short_id=instance.short_id,
            name=instance.name,
            region=instance.region,
            spec=instance.spec,
            resident_secret=self.secret.resident_secret(instance.id),
            app_password=self.secret.app_password(instance.id),
            labels=instance.labels,
        )
