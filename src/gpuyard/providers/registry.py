"""Finds providers by name: ours and those that other packages register."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Protocol

from gpuyard.domain.errors import Invalid
from gpuyard.domain.gpus import GpuCatalogue
from gpuyard.ports.provider import Provider

GROUP = "gpuyard.providers"

_OURS: Mapping[str, str] = {
    "fake": "gpuyard.providers.fake:from_settings",
    "local": "gpuyard.providers.local:from_settings",
}
"""Known without an installed distribution too, as when running from a source tree."""


class Factory(Protocol):
    """What an entry point of the group names. Raises Invalid for settings that make no sense."""

    def __call__(self, settings: Mapping[str, Any], catalogue: GpuCatalogue) -> Provider: ...


def names() -> list[str]:
    """Every provider that `load` knows."""
    return sorted({*_OURS, *(point.name for point in entry_points(group=GROUP))})


def load(name: str, settings: Mapping[str, Any], catalogue: GpuCatalogue) -> Provider:
    """Make the provider called `name`. Raises Invalid when there is none, or when it dislikes its settings.

    Ours win over another package's of the same name: installing a package must not replace what the yard runs on.
    """
    factory: Factory
    if name in _OURS:
        factory = _import(_OURS[name])
    else:
        found = [point for point in entry_points(group=GROUP) if point.name == name]
        if not found:
            raise _unknown(name)
        try:
            factory = found[0].load()
        except Exception as error:
            raise Invalid(
                f"the provider {name!r} cannot be loaded from {found[0].value}: {error}",
                field="providers",
                hint="repair or reinstall the package that registers it",
            ) from error
    return factory(settings, catalogue)


def _import(target: str) -> Factory:
    import importlib

    module, _, attribute = target.partition(":")
    factory: Factory = getattr(importlib.import_module(module), attribute)
    return factory


def _unknown(name: str) -> Invalid:
    known = names()
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known
    return Invalid(
        f"no provider is called {name!r}",
        field="providers",
        hint=f"did you mean {' or '.join(near)}?" if near != known else f"there is: {', '.join(known)}",
        details={"nearest": near},
    )
