"""What a provider reports about an instance at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Presence(StrEnum):
    ABSENT = "absent"
    """The provider has nothing of it: no machine, no disk, no bill."""
    PENDING = "pending"
    """It is being made, started, or its resident does not answer yet."""
    RUNNING = "running"
    """It is up and its resident answers."""
    STOPPED = "stopped"
    """Its disk is kept and nothing runs."""
    STOPPING = "stopping"
    FAILED = "failed"
    """It ended by itself; `reason` says why. It may still hold a disk."""


@dataclass(frozen=True, slots=True)
class Sighting:
    presence: Presence
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """How the server connects to an instance's resident: one of a Unix socket and a base URL."""

    socket: str | None = None
    url: str | None = None
