"""What must be tidied now and then: machines nobody remembers, old idempotency keys, when keys were used."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from gpuyard.domain.errors import YardError
from gpuyard.domain.ids import InstanceId
from gpuyard.domain.instances import ENDED
from gpuyard.ports.provider import CanList
from gpuyard.ports.store import Tx
from gpuyard.services.yard import Yard

log = logging.getLogger(__name__)

TIDY_SECONDS = 5.0
SWEEP_EVERY = 12
"""Every so many tidy-ups, and at the start, providers are asked for machines nobody remembers."""
REMEMBER_REQUESTS_FOR = timedelta(hours=24)


async def keep_tidy(yard: Yard) -> None:
    """Until cancelled."""
    turn = 0
    while True:
        try:
            if turn % SWEEP_EVERY == 0:
                await sweep(yard)
                oldest = yard.clock.now() - REMEMBER_REQUESTS_FOR
                await yard.store.write(lambda tx, oldest=oldest: tx.idempotency.forget_before(oldest))  # type: ignore[misc]
            await note_key_use(yard)
        except Exception:
            log.exception("tidying failed")
        turn += 1
        await yard.clock.sleep(TIDY_SECONDS)


async def note_key_use(yard: Yard) -> None:
    """Write down when keys were last used; exact to a few seconds."""
    used = yard.known_keys.take_last_used()
    if used:
        await yard.store.write(lambda tx: tx.keys.used(used))


async def sweep(yard: Yard) -> Sequence[InstanceId]:
    """Release every machine whose instance the yard never knew, or has deleted or failed; answers which.

    Of a failed one the provider may have said that it was gone, and find it again: it would run for nobody.

    An instance is written down before it is ordered, so what has no row here was ordered by nobody who remembers.
    """
    released: list[InstanceId] = []
    for name, provider in yard.providers.items():
        if not isinstance(provider, CanList):
            continue
        try:
            tenants = await provider.tenants()
            unknown = await yard.store.read(lambda tx, tenants=tenants: _forgotten(tx, tenants))  # type: ignore[misc]
            for instance_id in unknown:
                log.warning("releasing %s at %s: no instance of this yard needs it", instance_id, name)
                await provider.release(instance_id)
                released.append(instance_id)
        except YardError as problem:
            log.warning("cannot sweep %s now: %s", name, problem.message)
    return released


def _forgotten(tx: Tx, tenants: Sequence[InstanceId]) -> list[InstanceId]:
    found = ((instance_id, tx.instances.get(instance_id)) for instance_id in tenants)
    return [id_ for id_, instance in found if instance is None or instance.state in ENDED]
