"""What happened, as accounts can follow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gpuyard.domain.ids import AccountId


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to one thing. `seq` is given by the store and only grows."""

    account_id: AccountId
    subject: str
    """The id of the instance, execution, key … it happened to."""
    kind: str
    """Noun and fact: `instance.running`, `execution.succeeded`, `key.revoked`."""
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to place a waiting instance. Tries with the same outcome in a row are one, counted."""

    number: int
    first_at: datetime
    last_at: datetime
    times: int
    outcome: str
    """`placed`, or a WaitCode."""
    reason: str
