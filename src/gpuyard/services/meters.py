"""What a running instance has cost so far, and what will end its run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from gpuyard.domain.ids import AccountId, new_interval_id
from gpuyard.domain.instances import Instance, InstanceState
from gpuyard.domain.ledger import Funds, Reached, UsageInterval, charge, first_limit
from gpuyard.ports.store import Tx

_INSTANT = timedelta(microseconds=1)


def limit_of(tx: Tx, instance: Instance, now: datetime, *, idle_since: datetime | None = None) -> Reached | None:
    """The first limit that ends a running instance, and when; in the past where we are late."""
    intervals = tx.ledger.intervals(instance.id)
    return first_limit(
        instance.limits,
        spent_micro=sum(interval.cost_until(now) for interval in intervals),
        ran_for=sum((interval.lasted_until(now) for interval in intervals), timedelta()),
        price_per_hour_micro=instance.price_per_hour_micro or 0,
        now=now,
        idle_since=idle_since,
        funds=funds_of(tx, instance.account_id, now),
    )


def funds_of(tx: Tx, account_id: AccountId, now: datetime) -> Funds | None:
    """What the account may still spend, and how fast it does; None for one without a limit."""
    account = tx.accounts.get(account_id)
    if account is None or account.credit_micro is None:
        return None
    running = running_of(tx, account_id, now)
    uncharged = sum(interval.cost_until(now) - interval.charged_micro for interval in running)
    left = tx.ledger.balance(account_id) + account.credit_micro - uncharged
    return Funds(left, sum(interval.price_per_hour_micro for interval in running))


def free_to_hold(tx: Tx, account_id: AccountId) -> int | None:
    """What may still be set aside for new instances; None without a limit."""
    account = tx.accounts.get(account_id)
    if account is None or account.credit_micro is None:
        return None
    return tx.ledger.balance(account_id) + account.credit_micro - tx.ledger.held(account_id)


def purses(tx: Tx, account_ids: Iterable[AccountId]) -> dict[AccountId, int]:
    """The same for several; those without a limit are left out."""
    found = ((account_id, free_to_hold(tx, account_id)) for account_id in set(account_ids))
    return {account_id: free for account_id, free in found if free is not None}


def running_of(tx: Tx, account_id: AccountId, now: datetime) -> Sequence[UsageInterval]:
    """The open intervals of one account."""
    return [i for i in tx.ledger.intervals_between(account_id, now, now + _INSTANT) if i.ended_at is None]


def open_intervals(tx: Tx, instance: Instance) -> list[UsageInterval]:
    return [interval for interval in tx.ledger.intervals(instance.id) if interval.ended_at is None]


def open_interval(tx: Tx, instance: Instance, now: datetime) -> None:
    assert instance.price_per_hour_micro is not None, "a running instance was placed, and placing fixes the price"
    tx.ledger.open_interval(
        UsageInterval(
            new_interval_id(), instance.account_id, instance.id, instance.price_per_hour_micro, now, seen_at=now
        )
    )


def meter(tx: Tx, interval: UsageInterval, now: datetime) -> UsageInterval:
    """Charge what was used up to `now` and has not been charged. A pass that runs twice charges once."""
    entry = charge(interval, now)
    charged = interval.charged_micro
    if entry is not None:
        tx.ledger.append(entry)
        charged -= entry.amount_micro
    metered = replace(interval, charged_micro=charged, seen_at=interval.ended_at or now)
    tx.ledger.save_interval(metered)
    return metered


def close_interval(tx: Tx, instance: Instance, at: datetime) -> None:
    """End the open interval of an instance at `at`, charging to the end; never before what was charged already, or
    the bill would say more than the usage. Nothing open: no effect."""
    for interval in open_intervals(tx, instance):
        end = max(at, interval.seen_at or interval.started_at, interval.started_at)
        meter(tx, replace(interval, ended_at=end), end)


def settle(tx: Tx, instance: Instance, now: datetime) -> None:
    """Charge a running instance under the limits it has, before they change: a new one does not reach back."""
    if instance.state is not InstanceState.RUNNING:
        return
    reached = limit_of(tx, instance, now)
    until = now if reached is None else min(now, reached.at)
    for interval in open_intervals(tx, instance):
        if until > (interval.seen_at or interval.started_at):
            meter(tx, interval, until)


def settle_account(tx: Tx, account_id: AccountId, now: datetime) -> None:
    """The same for all that the account runs, before what it may spend changes."""
    for interval in running_of(tx, account_id, now):
        instance = tx.instances.get(interval.instance_id)
        if instance is not None:
            settle(tx, instance, now)
