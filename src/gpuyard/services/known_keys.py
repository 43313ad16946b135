"""Keys that were good a moment ago, so that a request costs no transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from gpuyard.domain.accounts import Caller
from gpuyard.domain.ids import KeyId


@dataclass
class KnownKeys:
    """Callers of the last second by the digest of their key, and when keys were last used."""

    callers: dict[str, tuple[Caller, datetime]] = field(default_factory=dict)
    last_used: dict[KeyId, datetime] = field(default_factory=dict)

    def forget(self) -> None:
        """Call it when a key or a member changed."""
        self.callers.clear()

    def take_last_used(self) -> dict[KeyId, datetime]:
        taken, self.last_used = self.last_used, {}
        return taken
