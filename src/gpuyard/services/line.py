"""The line of waiting instances: who gets what now, and why the rest still waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpuyard.domain.errors import InsufficientBalance, YardError
from gpuyard.domain.ids import InstanceId
from gpuyard.domain.instances import Instance, InstanceState
from gpuyard.domain.offers import Offer, free_counts
from gpuyard.domain.placing import Placed, WaitReason, place
from gpuyard.ports.store import Tx
from gpuyard.services.capacity import waiting_entry
from gpuyard.services.moves import reserve
from gpuyard.services.yard import Yard


@dataclass(frozen=True, slots=True)
class Served:
    """What one look at the line led to."""

    placed: tuple[Instance, ...]
    still_waiting: int


async def serve(yard: Yard, noted: dict[InstanceId, WaitReason]) -> Served:
    """Look once at the whole line and place whom it can. `noted` remembers across calls what was already written
    down about each, so that an unchanged reason costs no write."""
    offers = yard.offers.all
    line, in_use = await yard.store.read(lambda tx: (tx.instances.line(), tx.allocations.in_use()))
    yard.line_positions.clear()
    yard.line_positions.update({instance.id: place_in_line for place_in_line, instance in enumerate(line, 1)})
    if not line:
        noted.clear()
        return Served((), 0)

    decided = place([waiting_entry(instance) for instance in line], offers, in_use)
    news = {id_: reason for id_, reason in decided.reasons.items() if noted.get(id_) != reason}
    placed: list[Instance] = []
    if decided.placed or news:
        placed = await yard.store.write(lambda tx: _write_down(tx, yard, decided.placed, news, offers))
    noted.update(news)
    for instance_id in noted.keys() - decided.reasons.keys():
        del noted[instance_id]
    for instance in placed:
        yard.line_positions.pop(instance.id, None)
        yard.hints.wake(instance.id)
        yard.hints.events(instance.account_id).ring()
    return Served(tuple(placed), len(line) - len(placed))


def _write_down(
    tx: Tx, yard: Yard, chosen: Sequence[Placed], news: dict[InstanceId, WaitReason], offers: Sequence[Offer]
) -> list[Instance]:
    """What was decided outside is only done where it is still true inside the transaction."""
    now = yard.clock.now()
    free = free_counts(offers, tx.allocations.in_use())
    done: list[Instance] = []
    for placed in chosen:
        instance = tx.instances.get(placed.instance_id)
        if instance is None or instance.state is not InstanceState.WAITING:
            continue
        if any(free.get(pool, 0) < count for pool, count in placed.pools.items()):
            continue
        try:
            done.append(reserve(tx, instance, placed, now, currency=yard.currency))
        except InsufficientBalance as poor:
            _waits(tx, instance, poor)
            continue
        tx.attempts.note(instance.id, at=now, outcome="placed", reason=f"at {placed.provider} in {placed.region}")
        for pool, count in placed.pools.items():
            free[pool] -= count
    for instance_id, reason in news.items():
        tx.attempts.note(instance_id, at=now, outcome=str(reason.code), reason=reason.text)
        waiting = tx.instances.get(instance_id)
        if waiting is not None and waiting.state is InstanceState.WAITING and waiting.state_reason != reason.text:
            tx.instances.save(replace(waiting, state_reason=reason.text))
    return done


def _waits(tx: Tx, instance: Instance, why: YardError) -> None:
    if instance.state_reason != why.message:
        tx.instances.save(replace(instance, state_reason=why.message))
