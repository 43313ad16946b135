"""Real processes on this machine, on its own GPUs or on simulated ones: the provider a yard starts with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gpuyard.domain.gpus import GpuCatalogue

if TYPE_CHECKING:
    from gpuyard.providers.local.provider import LocalProvider


def from_settings(settings: Mapping[str, Any], catalogue: GpuCatalogue) -> LocalProvider:
    """The entry point `local`. Raises Invalid naming the field that is wrong."""
    from gpuyard.providers.local.provider import LocalProvider
    from gpuyard.providers.local.settings import parse

    return LocalProvider(parse(settings, catalogue), catalogue)
