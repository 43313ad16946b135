"""The only way an instance changes its state: the move, its event, its money and its capacity in one transaction."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from gpuyard.domain.errors import InsufficientBalance
from gpuyard.domain.events import Event
from gpuyard.domain.instances import INSTANCE_LIFECYCLE, Instance, InstanceEvent, InstanceState
from gpuyard.domain.ledger import Hold, hold_amount
from gpuyard.domain.money import show_micro
from gpuyard.domain.placing import Placed
from gpuyard.ports.store import Claim, Tx
from gpuyard.services.meters import close_interval, free_to_hold, limit_of, open_interval


class ClaimLost(Exception):
    """Somebody else works on the instance now; what we were about to write must not be written."""


def move(
    tx: Tx,
    instance: Instance,
    event: InstanceEvent,
    *,
    now: datetime,
    reason: str = "",
    claim: Claim | None = None,
    until: datetime | None = None,
    wake_at: datetime | None = None,
    **changes: Any,
) -> Instance:
    """Record `event`, with everything that must be true in the same instant.

    Time is charged from READY to whatever ends the run: to `until` where that is given and earlier than `now` (an
    idle limit that was reached, the last sighting of what vanished), and never beyond what its limits allow, however
    late we are and whoever ends it. A reconciler looks again at `wake_at`, or at once.

    Raises IllegalMove, or ClaimLost when `claim` is no longer ours.
    """
    state = INSTANCE_LIFECYCLE.next(instance.state, event)
    moved = replace(instance, state=state, state_reason=reason, entered_at=now, **changes)
    if state is InstanceState.RUNNING:
        moved = replace(moved, running_at=instance.running_at or now)
        open_interval(tx, moved, now)
    if instance.state is InstanceState.RUNNING:
        reached = limit_of(tx, instance, now)
        close_interval(tx, instance, min(until or now, now, reached.at if reached is not None else now))
    if not tx.instances.save(moved, claim=claim):
        raise ClaimLost
    tx.instances.wake(moved.id, wake_at or now)
    note(tx, moved, str(event), now, kind=f"instance.{state}", reason=reason)
    return moved


def note(tx: Tx, instance: Instance, what: str, now: datetime, *, kind: str, reason: str = "") -> None:
    """Let the account's followers know."""
    data = {
        "event": what,
        "state": str(instance.state),
        "name": instance.name,
        "short_id": instance.short_id,
        **({"reason": reason} if reason else {}),
    }
    tx.events.add(Event(instance.account_id, instance.id, kind, now, data))


def reserve(tx: Tx, instance: Instance, placed: Placed, now: datetime, *, currency: str) -> Instance:
    """Promise capacity to a waiting or stopped instance: from here on its GPUs are nobody else's.

    Raises InsufficientBalance where the account cannot pay the hold.
    """
    _hold(tx, instance, placed.price_per_hour_micro, now, currency)
    tx.allocations.put(instance.id, placed.pools)
    event = {
        (InstanceState.WAITING, False): InstanceEvent.PLACED,
        (InstanceState.WAITING, True): InstanceEvent.PLACED_AGAIN,
        (InstanceState.STOPPED, True): InstanceEvent.START,
    }[instance.state, instance.has_disk]
    return move(
        tx,
        instance,
        event,
        now=now,
        provider=placed.provider,
        region=placed.region,
        simulated=placed.simulated,
        price_per_hour_micro=placed.price_per_hour_micro,
    )


def give_back(tx: Tx, instance: Instance) -> bool:
    """Free its GPUs and its hold. True if there was something to free; twice does no harm."""
    tx.ledger.release_hold(instance.id)
    return tx.allocations.drop(instance.id)


def _hold(tx: Tx, instance: Instance, price_per_hour_micro: int, now: datetime, currency: str) -> None:
    amount = hold_amount(price_per_hour_micro, instance.limits)
    free = free_to_hold(tx, instance.account_id)
    if free is not None and free < amount:
        raise InsufficientBalance(
            f"{show_micro(amount, currency)} must be set aside and {show_micro(max(free, 0), currency)} is free",
            hint="add credit, set a lower max_cost, or stop something",
            details={"needed_micro": amount, "free_micro": free},
        )
    tx.ledger.hold(Hold(instance.id, instance.account_id, amount, now))
