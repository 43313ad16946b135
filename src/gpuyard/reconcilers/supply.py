"""Keeping the offers fresh and the line moving."""

from __future__ import annotations

import asyncio
import logging
import time

from gpuyard.domain.errors import YardError
from gpuyard.domain.ids import InstanceId
from gpuyard.domain.offers import Pool
from gpuyard.domain.placing import WaitReason
from gpuyard.ports.provider import Provider
from gpuyard.services import line
from gpuyard.services.yard import Yard

log = logging.getLogger(__name__)

REFRESH_SECONDS = 5.0
SLOW_LOOK_SECONDS = 1.0
LEAST_PAUSE_SECONDS = 0.01
OFFERS_TIMEOUT_SECONDS = 30.0


async def refresh_offers(yard: Yard) -> None:
    """Ask every provider once, side by side. One that fails keeps its last offers and gets a problem noted."""
    await asyncio.gather(*(_refresh_one(yard, name, provider) for name, provider in yard.providers.items()))


async def _refresh_one(yard: Yard, name: str, provider: Provider) -> None:
    before = _capacity(yard, name)
    try:
        offers = await asyncio.wait_for(provider.offers(), OFFERS_TIMEOUT_SECONDS)
    except YardError as problem:
        yard.offers.failed(name, problem.message)
    except TimeoutError:
        yard.offers.failed(name, f"it did not list its offers within {OFFERS_TIMEOUT_SECONDS:.0f} seconds")
    except Exception as bug:
        log.exception("provider %s failed to list its offers", name)
        yard.offers.failed(name, f"a bug in the provider: {bug!r}")
    else:
        yard.offers.heard(name, offers, yard.clock.now())
    if _capacity(yard, name) != before:
        yard.hints.line.ring()


def _capacity(yard: Yard, name: str) -> dict[Pool, tuple[int, int | None]]:
    return {offer.pool: (offer.available, offer.total) for offer in yard.offers.word(name).offers}


async def keep_offers_fresh(yard: Yard) -> None:
    """Until cancelled."""
    while True:
        await yard.clock.sleep(REFRESH_SECONDS)
        await refresh_offers(yard)


async def keep_line_moving(yard: Yard) -> None:
    """Serve the line whenever something may have changed. Until cancelled.

    A look at a very long line takes its time, and rests as long again, so that it never takes over the process.
    """
    noted: dict[InstanceId, WaitReason] = {}
    while True:
        rung = yard.hints.line.rung
        began = time.monotonic()
        try:
            await line.serve(yard, noted)
        except Exception:
            log.exception("serving the line failed")
            noted.clear()
        await yard.clock.sleep(max(time.monotonic() - began, LEAST_PAUSE_SECONDS))
        await yard.hints.line.heard(rung, SLOW_LOOK_SECONDS)
