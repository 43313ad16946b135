"""The cards of this machine: real ones through NVML, else simulated ones that say so."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpuyard.domain.errors import UnknownGpu
from gpuyard.domain.gpus import Gpu, GpuCatalogue
from gpuyard.providers.local.settings import DEFAULT_SIMULATION
from gpuyard.resident.wire import GrantedGpu


@dataclass(frozen=True, slots=True)
class Card:
    """One card. `index` is NVML's, which is PCI bus order, the order CUDA_VISIBLE_DEVICES is read in by residents."""

    index: int
    uuid: str
    gpu: Gpu
    memory_mb: int
    simulated: bool

    def granted(self) -> GrantedGpu:
        return GrantedGpu(
            index=self.index,
            uuid=self.uuid,
            name=self.gpu.name,
            slug=self.gpu.slug,
            memory_mb=self.memory_mb,
            simulated=self.simulated,
        )


def find_cards(simulate: Mapping[str, int] | None, catalogue: GpuCatalogue) -> Sequence[Card]:
    """What `simulate` says; without it the real cards, or the default simulation where there are none."""
    if simulate is None:
        return _real_cards(catalogue) or _simulated_cards(DEFAULT_SIMULATION, catalogue)
    return _simulated_cards(simulate, catalogue)


def choose(cards: Sequence[Card], taken: frozenset[int], demand: Mapping[str, int]) -> list[Card] | None:
    """The free cards with the lowest indexes that make up `demand`; None when there are not enough."""
    chosen: list[Card] = []
    for slug, count in demand.items():
        free = [card for card in cards if card.gpu.slug == slug and card.index not in taken]
        if len(free) < count:
            return None
        chosen += free[:count]
    return sorted(chosen, key=lambda card: card.index)


def _simulated_cards(simulate: Mapping[str, int], catalogue: GpuCatalogue) -> list[Card]:
    gpus = [catalogue.resolve(slug, field="simulate") for slug, count in simulate.items() for _ in range(count)]
    return [
        Card(index, f"GPU-simulated-{_digest(f'{index} {gpu.slug}')}", gpu, gpu.memory_gb * 1024, simulated=True)
        for index, gpu in enumerate(gpus)
    ]


def _real_cards(catalogue: GpuCatalogue) -> list[Card]:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver or no card: pynvml has a class for each, and all mean "no real cards"
        return []
    try:
        return [
            _real_card(pynvml.nvmlDeviceGetHandleByIndex(i), i, catalogue) for i in range(pynvml.nvmlDeviceGetCount())
        ]
    finally:
        pynvml.nvmlShutdown()


def _real_card(handle: object, index: int, catalogue: GpuCatalogue) -> Card:
    import pynvml

    name = _text(pynvml.nvmlDeviceGetName(handle))
    memory_mb = pynvml.nvmlDeviceGetMemoryInfo(handle).total // (1024 * 1024)
    gpu = gpu_named(name, memory_mb, catalogue)
    return Card(index, _text(pynvml.nvmlDeviceGetUUID(handle)), gpu, memory_mb, simulated=False)


def gpu_named(name: str, memory_mb: int, catalogue: GpuCatalogue) -> Gpu:
    """The catalogue's card; one made up from what the driver says for a card nobody has written down yet."""
    try:
        return catalogue.resolve(name)
    except UnknownGpu:
        bare = re.sub(r"[^a-z0-9]+", "-", name.lower().removeprefix("nvidia").strip()).strip("-")
        return Gpu(
            slug=f"nvidia-{bare}", name=name, memory_gb=round(memory_mb / 1024), vendor="nvidia", architecture=""
        )


def _text(value: str | bytes) -> str:
    """NVML's bindings answered bytes until version 11."""
    return value.decode() if isinstance(value, bytes) else value


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
