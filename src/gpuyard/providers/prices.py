"""What an hour of one GPU costs where the owner has set no price: millionths of the yard's currency."""

from __future__ import annotations

from collections.abc import Mapping

from gpuyard.domain.errors import Invalid
from gpuyard.domain.gpus import CPU, Gpu, GpuCatalogue
from gpuyard.domain.money import parse_micro

DEFAULT_PRICES: Mapping[str, int] = {
    CPU: 20_000,
    "nvidia-rtx-3060ti": 80_000,
    "nvidia-rtx-3080ti": 130_000,
    "nvidia-rtx-3090": 200_000,
    "nvidia-rtx-4090": 350_000,
    "nvidia-rtx-5090": 600_000,
    "nvidia-t4": 150_000,
    "nvidia-l4": 400_000,
    "nvidia-a10": 500_000,
    "nvidia-l40s": 850_000,
    "nvidia-a100-40gb": 1_000_000,
    "nvidia-a100-80gb": 1_400_000,
    "nvidia-h100": 2_300_000,
    "nvidia-h200": 3_200_000,
    "nvidia-b200": 4_800_000,
    "amd-mi300x": 2_500_000,
}
"""Near what clouds asked in 2026, in euros. An owner's electricity decides; the settings have the last word."""

_PER_GB_MICRO = 12_000
"""For a card without a price of its own: its memory decides, as it does in most price lists."""


def price_of(gpu: Gpu, prices: Mapping[str, int]) -> int:
    """The owner's price, else ours, else one by memory."""
    for table in (prices, DEFAULT_PRICES):
        if gpu.slug in table:
            return table[gpu.slug]
    return gpu.memory_gb * _PER_GB_MICRO


def cpu_price(prices: Mapping[str, int]) -> int:
    return prices.get(CPU, DEFAULT_PRICES[CPU])


def parse_prices(written: Mapping[str, object], catalogue: GpuCatalogue, *, field: str) -> dict[str, int]:
    """`{"RTX 3090": "0.25"}` → `{"nvidia-rtx-3090": 250000}`. Raises UnknownGpu or Invalid naming the field."""
    prices: dict[str, int] = {}
    for name, amount in written.items():
        slug = CPU if name == CPU else catalogue.resolve(name, field=field).slug
        if isinstance(amount, bool) or not isinstance(amount, str | int | float):
            raise Invalid(f"{field}.{name} is not an amount: {amount!r}", field=field, hint="write 0.25")
        prices[slug] = parse_micro(amount, field=f"{field}.{name}")
    return prices


def parse_counts(written: Mapping[str, object], catalogue: GpuCatalogue, *, field: str) -> dict[str, int]:
    """`{"RTX 3090": 2}` → `{"nvidia-rtx-3090": 2}`. Raises UnknownGpu or Invalid naming the field."""
    counts: dict[str, int] = {}
    for name, count in written.items():
        slug = CPU if name == CPU else catalogue.resolve(name, field=field).slug
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= 1024:
            raise Invalid(
                f"{field}.{name} is not a number of cards: {count!r}", field=field, hint="a whole number from 0 to 1024"
            )
        counts[slug] = counts.get(slug, 0) + count
    return counts
