"""Residents that wait, started, for an order: what makes a new instance ready at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gpuyard.providers.local.machine import Machine

log = logging.getLogger(__name__)

_QUIET_SECONDS = 0.05
"""Orders often come in bursts; the machine's cores are theirs first."""
_FIRST_REST, _LONGEST_REST = 1.0, 60.0
"""After a resident that did not start: seconds until the next try."""


class WarmPool:
    """Keeps `size` warm machines, started one at a time and only while no order is being served."""

    def __init__(
        self,
        size: int,
        *,
        make: Callable[[], Machine],
        discard: Callable[[Machine], Awaitable[None]],
        busy: Callable[[], bool],
    ) -> None:
        self._size = size
        self._make = make
        self._discard = discard
        self._busy = busy
        self._spares: list[Machine] = []
        self._poked = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._launch: asyncio.Task[None] | None = None

    def open(self) -> None:
        if self._size > 0:
            self._poked.set()
            self._keeper = asyncio.create_task(self._keep(), name="warm pool")

    async def close(self) -> None:
        """End what waits."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._launch is not None:  # a thread is at it, so it cannot be stopped halfway
            await asyncio.gather(self._launch, return_exceptions=True)
        spares, self._spares = self._spares, []
        await asyncio.gather(*(self._discard(spare) for spare in spares), return_exceptions=True)

    @property
    def ready(self) -> int:
        """How many could serve an order at once."""
        return sum(spare.ready for spare in self._spares)

    def take(self) -> Machine | None:
        """The spare that is furthest on; one that is still starting is better than none."""
        alive = [spare for spare in self._spares if spare.alive]
        if not alive:
            return None
        best = max(alive, key=lambda spare: spare.ready)
        self._spares.remove(best)
        best.ready = False
        self.poke()
        return best

    def poke(self) -> None:
        """Something changed: an order was served, or a spare was taken or ended."""
        self._poked.set()

    async def _keep(self) -> None:
        rest = _FIRST_REST
        while True:
            await self._poked.wait()
            self._poked.clear()
            await asyncio.sleep(_QUIET_SECONDS)
            for dead in [spare for spare in self._spares if spare.launched and not spare.alive]:
                self._spares.remove(dead)
                await self._discard(dead)
            while len(self._spares) < self._size and not self._busy():
                if await self._start_one():
                    rest = _FIRST_REST
                    continue
                await asyncio.sleep(rest)
                rest = min(rest * 2, _LONGEST_REST)

    async def _start_one(self) -> bool:
        """True when it came up, or was taken while it did."""
        spare = self._make()
        self._spares.append(spare)
        try:
            self._launch = asyncio.ensure_future(spare.launch(None))
            await asyncio.shield(self._launch)
        except OSError as error:
            log.warning("a warm resident could not be started: %s", error)
        else:
            answers = await spare.until_it_answers(lambda: spare in self._spares)
            if spare not in self._spares:
                return True
            spare.ready = answers
            if answers:
                return True
            log.warning("a warm resident ended before it answered: %s", spare.place.log_tail() or "it said nothing")
        self._spares.remove(spare)
        await self._discard(spare)
        return False
