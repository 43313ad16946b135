"""The GPU catalogue: what a GPU is called here and elsewhere, and how people misspell it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from gpuyard.domain.errors import UnknownGpu

CPU = "cpu"
"""The pseudo type that an instance without GPUs asks for."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One kind of card. `slug` is our name for it; `aliases` are other people's."""

    slug: str
    name: str
    memory_gb: int
    vendor: str
    architecture: str
    compute_capability: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class GpuCatalogue:
    gpus: Mapping[str, Gpu] = field(default_factory=dict)

    @classmethod
    def of(cls, gpus: Iterable[Gpu]) -> GpuCatalogue:
        return cls({gpu.slug: gpu for gpu in gpus})

    def resolve(self, asked: str, *, field: str = "gpus") -> Gpu:
        """Find a card by slug, name or alias, whatever the case, spaces and dashes.

        Raises UnknownGpu with the nearest known names.
        """
        found = self._by_spelling.get(_fold(asked))
        if found is not None:
            return found
        near = self.nearest(asked)
        raise UnknownGpu(
            f"no GPU type {asked!r} is known",
            field=field,
            hint=f"did you mean {' or '.join(near)}?" if near else "`gpuyard offers` lists what there is",
            details={"nearest": near},
        )

    def nearest(self, asked: str) -> list[str]:
        close = difflib.get_close_matches(_fold(asked), self._by_spelling, n=6, cutoff=0.6)
        return list(dict.fromkeys(self._by_spelling[spelling].slug for spelling in close))[:3]

    @cached_property
    def _by_spelling(self) -> dict[str, Gpu]:
        table: dict[str, Gpu] = {}
        for gpu in self.gpus.values():
            for spelling in (*gpu.aliases, gpu.name, gpu.slug.removeprefix(f"{gpu.vendor}-")):
                table[_fold(spelling)] = gpu
        # last, so that no card's alias hides another card
        table.update({_fold(gpu.slug): gpu for gpu in self.gpus.values()})
        return table


def _fold(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
