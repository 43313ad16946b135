"""What this machine has to offer, and which of its cards an order gets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from gpuyard.domain.errors import ProviderRefused
from gpuyard.domain.gpus import CPU, Gpu
from gpuyard.domain.instances import InstanceSpec
from gpuyard.domain.offers import Offer
from gpuyard.ports.provider import Order
from gpuyard.providers.local.cards import Card, choose
from gpuyard.providers.local.disk import Record
from gpuyard.providers.local.settings import LocalSettings
from gpuyard.providers.prices import cpu_price, price_of
from gpuyard.resident.wire import GrantedGpu

_CPU_GPU = Gpu(slug=CPU, name="CPU", memory_gb=0, vendor="", architecture="")

PRETENDED_VCPUS, PRETENDED_RAM_GB = 64, 256
"""What a machine whose cards are simulated lets an instance ask for: cores and memory are shared here, not dedicated,
and a laptop must be able to try whatever a server would run."""


class Stock:
    """Counts by the records there are: a card is taken as long as it stands in one."""

    def __init__(self, settings: LocalSettings, cards: Sequence[Card], records: Callable[[], Iterable[Record]]) -> None:
        self.cards = cards
        self.simulated = all(card.simulated for card in cards)
        self._settings = settings
        self._records = records

    def offers(self) -> Sequence[Offer]:
        taken = self._taken()
        counts: dict[str, list[Card]] = {}
        for card in self.cards:
            counts.setdefault(card.gpu.slug, []).append(card)
        cpus = self._settings.cpu_instances
        return [
            *(
                self._offer(cards[0].gpu, cards[0].simulated, len(cards), sum(c.index not in taken for c in cards))
                for cards in counts.values()
            ),
            *([self._offer(_CPU_GPU, False, cpus, max(cpus - self._without_cards(), 0))] if cpus else []),
        ]

    def grant(self, spec: InstanceSpec) -> tuple[GrantedGpu, ...]:
        """Choose cards for a record that is made before the event loop runs on, so that nobody else gets them.

        Raises ProviderRefused when they are not free.
        """
        demand = dict(spec.demand())
        if demand.pop(CPU, 0) and self._without_cards() >= self._settings.cpu_instances:
            raise self._no_capacity(spec)
        chosen = choose(self.cards, self._taken(), demand)
        if chosen is None:
            raise self._no_capacity(spec)
        return tuple(card.granted() for card in chosen)

    def must_suit(self, order: Order) -> None:
        """Raises ProviderRefused for a region or image that is not here."""
        settings = self._settings
        if order.region != settings.region:
            raise ProviderRefused(f"{settings.name} has no region {order.region!r}, only {settings.region!r}")
        if order.spec.image not in settings.images:
            there = ", ".join(sorted(settings.images))
            raise ProviderRefused(f"{settings.name} has no image {order.spec.image!r}; there is: {there}")

    def _taken(self) -> frozenset[int]:
        return frozenset(gpu.index for record in self._records() for gpu in record.gpus)

    def _without_cards(self) -> int:
        return sum(CPU in record.order.spec.demand() and not record.settled for record in self._records())

    def _no_capacity(self, spec: InstanceSpec) -> ProviderRefused:
        wanted = ", ".join(f"{count}× {gpu}" for gpu, count in spec.demand().items())
        return ProviderRefused(f"{self._settings.name} does not have {wanted} free", details={"no_capacity": True})

    def _offer(self, gpu: Gpu, simulated: bool, total: int, free: int) -> Offer:
        settings = self._settings
        # never less than what an instance has when nothing was asked for, or a small machine could serve nobody
        least_vcpus, least_ram_gb = (PRETENDED_VCPUS, PRETENDED_RAM_GB) if self.simulated else (2, 4)
        return Offer(
            provider=settings.name,
            region=settings.region,
            gpu_type=gpu.slug,
            gpu_name=gpu.name,
            gpu_memory_gb=gpu.memory_gb,
            price_per_hour_micro=cpu_price(settings.prices) if gpu.slug == CPU else price_of(gpu, settings.prices),
            total=total,
            available=free,
            seen_at=datetime.now(UTC),
            simulated=simulated,
            vcpus_max=settings.vcpus_max or max(os.cpu_count() or 1, least_vcpus),
            ram_gb_max=settings.ram_gb_max or max(_ram_gb(), least_ram_gb),
            disk_gb_max=settings.disk_gb_max or max(shutil.disk_usage(settings.data_dir).total // 10**9, 20),
            images=frozenset(settings.images),
        )


def _ram_gb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**9
