"""Following what happens in an account."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from gpuyard.domain.accounts import Caller, Scope
from gpuyard.domain.errors import Invalid
from gpuyard.domain.events import Event
from gpuyard.services.instances import find
from gpuyard.services.yard import Yard

SLOW_LOOK_SECONDS = 2.0


async def page(
    yard: Yard, caller: Caller, *, after: int = 0, limit: int = 100, instance: str | None = None
) -> Sequence[Event]:
    """Oldest first. An instance key sees only what happened to its instance."""
    caller.must(Scope.READ)
    if after < 0:
        raise Invalid(f"after is {after}", field="after", hint="the `seq` of the last event you have")

    subject = await _subject(yard, caller, instance)
    return await yard.store.read(lambda tx: tx.events.after(caller.account_id, after, limit=limit, subject=subject))


async def follow(
    yard: Yard, caller: Caller, *, after: int | None = None, instance: str | None = None
) -> AsyncIterator[Event]:
    """Every event with a larger `seq` than `after`, for ever; None for only those yet to come."""
    caller.must(Scope.READ)
    subject = await _subject(yard, caller, instance)
    bell = yard.hints.events(caller.account_id)
    seq = after if after is not None else await yard.store.read(lambda tx: tx.events.last_seq())
    while True:
        rung = bell.rung
        found = await yard.store.read(
            lambda tx, seq=seq: tx.events.after(caller.account_id, seq, limit=500, subject=subject)  # type: ignore[misc]
        )
        for event in found:
            seq = event.seq
            yield event
        if not found:
            await bell.heard(rung, SLOW_LOOK_SECONDS)


async def _subject(yard: Yard, caller: Caller, instance: str | None) -> str | None:
    if instance is not None:
        return (await yard.store.read(lambda tx: find(tx, caller, instance))).id
    return caller.instance_id
