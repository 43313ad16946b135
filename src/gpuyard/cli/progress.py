"""What is said while an instance is waited for: its state, why, and its place in line."""

from __future__ import annotations

from typing import Protocol


class Seen(Protocol):
    """What the SDK's waiters tell."""

    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def line_position(self) -> int | None: ...


_WORDS = {
    "waiting": "waits in line",
    "provisioning": "is being prepared",
    "starting": "is starting",
    "stopping": "is stopping",
    "stopped": "has stopped",
    "deleting": "is being deleted",
    "deleted": "is deleted",
    "failed": "has failed",
}


_SAID_ALREADY = frozenset({"requested", "running"})
"""States that the lines before and after the waiting tell."""


class WaitingWords:
    def __init__(self, name: str) -> None:
        self._name = name

    def of(self, seen: Seen) -> str | None:
        """None where there is nothing new worth saying."""
        state = str(seen.state)
        if state in _SAID_ALREADY:
            return None
        place = f", place {seen.line_position}" if state == "waiting" and seen.line_position else ""
        # the reason of a passing state is about how it came there; only a waiting one is told why it does not go on
        reason = f": {seen.reason}" if seen.reason and state in ("waiting", "failed", "stopped") else ""
        return f"{self._name} {_WORDS.get(state, f'is {state}')}{place}{reason}"
