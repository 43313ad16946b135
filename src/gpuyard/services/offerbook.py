"""The latest word of every provider: what it offers, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gpuyard.domain.offers import Offer, Pool


@dataclass(frozen=True, slots=True)
class ProviderWord:
    """What one provider said last."""

    offers: tuple[Offer, ...] = ()
    seen_at: datetime | None = None
    problem: str | None = None


class OfferBook:
    """Written by the offers reconciler, read by everybody in this process."""

    def __init__(self) -> None:
        self._words: dict[str, ProviderWord] = {}
        self._full_until: dict[Pool, datetime] = {}
        self._all: tuple[Offer, ...] = ()

    def heard(self, provider: str, offers: Sequence[Offer], now: datetime) -> None:
        self._words[provider] = ProviderWord(tuple(offers), now)
        self._full_until = {pool: until for pool, until in self._full_until.items() if until > now}
        self._refresh()

    def failed(self, provider: str, problem: str) -> None:
        """Keep the last offers in sight, but say that their provider does not answer."""
        before = self._words.get(provider, ProviderWord())
        self._words[provider] = replace(before, problem=problem)

    def refused(self, pools: Sequence[Pool], until: datetime) -> None:
        """A provider had no room where it offered some: believe the refusal for a while."""
        self._full_until.update(dict.fromkeys(pools, until))
        self._refresh()

    def word(self, provider: str) -> ProviderWord:
        return self._words.get(provider, ProviderWord())

    @property
    def all(self) -> tuple[Offer, ...]:
        return self._all

    def _refresh(self) -> None:
        self._all = tuple(
            replace(offer, available=0, full=True) if offer.pool in self._full_until else offer
            for word in self._words.values()
            for offer in word.offers
        )
