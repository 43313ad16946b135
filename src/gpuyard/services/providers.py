"""Who rents machines to this yard, and how they fare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gpuyard.domain.accounts import Caller, Scope
from gpuyard.domain.gpus import CPU
from gpuyard.ports.provider import CanList, CanStop, CanWatch
from gpuyard.services.yard import Yard

_ABILITIES = {"stop": CanStop, "list": CanList, "watch": CanWatch}


@dataclass(frozen=True, slots=True)
class ProviderState:
    name: str
    problem: str | None
    """Why it does not answer now; None when it does."""
    warnings: tuple[str, ...]
    """What its owner should know though it works: no sandbox, no real GPU."""
    seen_at: datetime | None
    capabilities: tuple[str, ...]
    gpus_total: int | None
    """None for a cloud, which does not say."""
    gpus_in_use: int


async def all_providers(yard: Yard, caller: Caller) -> Sequence[ProviderState]:
    """In the order of the settings."""
    caller.must(Scope.READ)
    return await states(yard)


async def states(yard: Yard) -> Sequence[ProviderState]:
    """The same for the server's own use: its metrics."""
    in_use = await yard.store.read(lambda tx: tx.allocations.in_use())
    found = []
    for name, provider in yard.providers.items():
        word = yard.offers.word(name)
        totals = [offer.total for offer in word.offers if offer.gpu_type != CPU]
        found.append(
            ProviderState(
                name=name,
                problem=word.problem,
                warnings=tuple(getattr(provider, "warnings", ())),
                seen_at=word.seen_at,
                capabilities=tuple(word for word, ability in _ABILITIES.items() if isinstance(provider, ability)),
                gpus_total=None if None in totals else sum(total or 0 for total in totals),
                gpus_in_use=sum(n for pool, n in in_use.items() if pool.provider == name and pool.gpu_type != CPU),
            )
        )
    return found
