"""What an owner can say about the machines that are this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gpuyard.domain.errors import Invalid
from gpuyard.domain.gpus import GpuCatalogue
from gpuyard.providers.prices import parse_counts, parse_prices

DEFAULT_SIMULATION: Mapping[str, int] = {
    "nvidia-rtx-3090": 2,
    "nvidia-rtx-3060ti": 1,
    "nvidia-rtx-3080ti": 1,
    "nvidia-rtx-4090": 1,
}
"""What a machine without a GPU pretends to have."""

SandboxChoice = Literal["auto", "bwrap", "none"]


@dataclass(frozen=True, slots=True)
class LocalSettings:
    data_dir: Path
    name: str = "local"
    region: str = "local"
    simulate: Mapping[str, int] | None = None
    """Simulated cards instead of the real ones. None: the real ones, or DEFAULT_SIMULATION where there are none."""
    prices: Mapping[str, int] = field(default_factory=dict)
    """Micro per hour by GPU type; `cpu` for an instance without cards."""
    warm_pool: int = 1
    """How many residents wait, started, for an order. Each takes some 60 MB."""
    sandbox: SandboxChoice = "auto"
    images: Mapping[str, str] = field(default_factory=lambda: {"python": "Python with what this machine has installed"})
    python: str = sys.executable
    """The interpreter that runs residents; it must have gpuyard."""
    cpu_instances: int = 64
    """How many instances without cards may run at once."""
    vcpus_max: int | None = None
    ram_gb_max: int | None = None
    disk_gb_max: int | None = None
    """The most one instance may ask for. None: what the machine has; with simulated cards at least 64 vCPUs, 256 GB."""


def parse(settings: Mapping[str, Any], catalogue: GpuCatalogue) -> LocalSettings:
    """Raises Invalid or UnknownGpu naming the field that is wrong."""
    unknown = sorted(set(settings) - set(FIELDS))
    if unknown:
        raise _wrong(unknown[0], "is not a setting of the provider local", f"it has: {', '.join(FIELDS)}")
    if "data_dir" not in settings:
        raise _wrong("data_dir", "is missing", "name the directory in which instances live")
    return LocalSettings(
        **{
            name: FIELDS[name](name, value, catalogue)
            for name, value in settings.items()
            if value is not None or name == "simulate"
        }
    )


Reading = Callable[[str, Any, GpuCatalogue], Any]


def _text(name: str, value: Any, _: GpuCatalogue) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(name, f"is not a text: {value!r}", "write a text")
    return value


def _path(name: str, value: Any, _: GpuCatalogue) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise _wrong(name, f"is not a directory: {value!r}", "write a path")
    return Path(value).expanduser().absolute()


def _whole(least: int, most: int) -> Reading:
    def read(name: str, value: Any, _: GpuCatalogue) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _wrong(name, f"is not possible: {value!r}", f"a whole number from {least} to {most}")
        return value

    return read


def _sandbox(name: str, value: Any, _: GpuCatalogue) -> str:
    if value not in ("auto", "bwrap", "none"):
        raise _wrong(name, f"is not possible: {value!r}", "auto, bwrap or none")
    return str(value)


def _images(name: str, value: Any, _: GpuCatalogue) -> dict[str, str]:
    if not isinstance(value, Mapping) or not value:
        raise _wrong(name, f"is not a table: {value!r}", "write a name and a description for each image")
    return {str(image): str(description) for image, description in value.items()}


def _table(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(name, f"is not a table: {value!r}", "write a GPU type and a number on each line")
    return value


def _simulate(name: str, value: Any, catalogue: GpuCatalogue) -> dict[str, int] | None:
    if value is None:
        return None
    table = _counts_in_text(name, value) if isinstance(value, str) else _table(name, value)
    return parse_counts(table, catalogue, field=_full(name))


def _counts_in_text(name: str, text: str) -> dict[str, int]:
    """`nvidia-rtx-3090=2,nvidia-t4` → two of the one, one of the other."""
    counts: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        gpu, _, count = part.partition("=")
        if not (count or "1").isdigit():
            raise _wrong(name, f"has no number in {part!r}", "write nvidia-rtx-3090=2,nvidia-t4=1")
        counts[gpu] = counts.get(gpu, 0) + int(count or 1)
    return counts


def _prices(name: str, value: Any, catalogue: GpuCatalogue) -> dict[str, int]:
    return parse_prices(_table(name, value), catalogue, field=_full(name))


FIELDS: Mapping[str, Reading] = {
    "data_dir": _path,
    "name": _text,
    "region": _text,
    "simulate": _simulate,
    "prices": _prices,
    "warm_pool": _whole(0, 64),
    "sandbox": _sandbox,
    "images": _images,
    "python": _text,
    "cpu_instances": _whole(0, 10_000),
    "vcpus_max": _whole(1, 4096),
    "ram_gb_max": _whole(1, 65_536),
    "disk_gb_max": _whole(1, 1_000_000),
}


def _full(name: str) -> str:
    return f"providers.local.{name}"


def _wrong(name: str, what: str, right: str) -> Invalid:
    return Invalid(f"{_full(name)} {what}", field=_full(name), hint=right)
