"""How fast and how large: token buckets per caller, and a ceiling on bodies."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from gpuyard.domain.errors import RateLimited


class Buckets:
    """One bucket of tokens per caller; it fills at `per_second` up to `burst`, and each request takes one.

    A rate of zero means no limit. Callers not seen for long are forgotten: a full bucket is like a new one.
    """

    def __init__(
        self, per_second: float, burst: float, *, keep: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = per_second
        self._burst = burst
        self._keep = keep
        self._clock = clock
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, caller: Hashable) -> None:
        """Raises RateLimited, saying when the next request will be let in."""
        if not self._rate:
            return
        self.check(caller)
        level, now = self._level(caller)
        self._levels[caller] = (level - 1, now)
        self._levels.move_to_end(caller)
        while len(self._levels) > self._keep:
            self._levels.popitem(last=False)

    def check(self, caller: Hashable) -> None:
        """Raises as `take` does, and takes nothing."""
        if not self._rate:
            return
        level, _ = self._level(caller)
        if level < 1:
            wait = (1 - level) / self._rate
            raise RateLimited(
                "too many requests",
                hint=f"ask again in {wait:.1f} seconds, and more slowly from then on",
                retry_after=round(wait, 3),
            )

    def _level(self, caller: Hashable) -> tuple[float, float]:
        now = self._clock()
        level, at = self._levels.get(caller, (self._burst, now))
        return min(self._burst, level + (now - at) * self._rate), now


@dataclass(frozen=True, slots=True)
class BodySizes:
    """The largest body in bytes, by what it is for. What streams into an instance has no ceiling here."""

    json: int = 1_000_000
    execution: int = 66 * 1024 * 1024

    def ceiling(self, method: str, path: str) -> int | None:
        if method not in ("POST", "PUT", "PATCH", "DELETE"):
            return self.json
        if method == "PUT" and ("/files/" in path or "/archive/" in path):
            return None
        if path.endswith(("/executions", "/stdin")):
            return self.execution
        return self.json


def too_large(ceiling: int) -> HTTPException:
    """FastAPI passes this class alone through from a body that is being read."""
    return HTTPException(413, f"the body is larger than the {ceiling} bytes this request may have")


def at_most(ceiling: int, receive: Receive) -> Receive:
    """`receive`, refusing to pass on more than `ceiling` bytes of body."""
    passed = 0

    async def counting() -> Message:
        nonlocal passed
        message = await receive()
        if message["type"] == "http.request":
            passed += len(message.get("body", b""))
            if passed > ceiling:
                raise too_large(ceiling)
        return message

    return counting
