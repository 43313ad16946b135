"""What an account has, owes and used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gpuyard.domain.accounts import Account, Caller, Scope
from gpuyard.domain.errors import Invalid, NotFound
from gpuyard.domain.ids import AccountId, InstanceId
from gpuyard.domain.ledger import EntryKind, LedgerEntry, UsageInterval
from gpuyard.domain.money import cost_micro
from gpuyard.ports.store import Page, Tx
from gpuyard.services.meters import settle_account
from gpuyard.services.yard import Yard


@dataclass(frozen=True, slots=True)
class Balance:
    account: Account
    balance_micro: int
    """Everything charged so far; what runs at this moment is charged once a minute and at its end."""
    held_micro: int
    running_per_hour_micro: int


@dataclass(frozen=True, slots=True)
class Used:
    """One instance's part of a span of time."""

    instance_id: InstanceId
    name: str
    seconds: float
    cost_micro: int


async def balance(yard: Yard, caller: Caller) -> Balance:
    caller.must(Scope.READ)
    return await yard.store.read(lambda tx: balance_of(tx, caller.account_id))


async def balance_of_account(yard: Yard, caller: Caller, account_id: str) -> Balance:
    """Anybody's for the yard's operator; for others their own. Raises NotFound."""
    caller.must(Scope.READ)
    if account_id != caller.account_id and Scope.YARD not in caller.scopes:
        raise NotFound(f"there is no account {account_id!r}")
    return await yard.store.read(lambda tx: balance_of(tx, AccountId(account_id)))


def balance_of(tx: Tx, account_id: AccountId) -> Balance:
    account = tx.accounts.get(account_id)
    if account is None:
        raise NotFound(f"there is no account {account_id!r}")
    rate = sum(i.price_per_hour_micro for i in tx.ledger.open_intervals() if i.account_id == account_id)
    return Balance(account, tx.ledger.balance(account_id), tx.ledger.held(account_id), rate)


async def entries(yard: Yard, caller: Caller, *, limit: int, cursor: str | None) -> Page[LedgerEntry]:
    caller.must(Scope.READ)
    return await yard.store.read(lambda tx: tx.ledger.entries(caller.account_id, limit=limit, cursor=cursor))


async def usage(yard: Yard, caller: Caller, start: datetime, end: datetime) -> Sequence[Used]:
    """Usage in [start, end), by instance, dearest first. Raises Invalid when end is not after start."""
    caller.must(Scope.READ)
    if end <= start:
        raise Invalid("end is not after start", field="end", hint="give a later instant")
    now = yard.clock.now()

    def look(tx: Tx) -> list[Used]:
        used: dict[InstanceId, Used] = {}
        for interval in tx.ledger.intervals_between(caller.account_id, start, end):
            if not caller.may_see(interval.instance_id):
                continue
            seconds, cost = _part(interval, start, min(end, now))
            before = used.get(interval.instance_id)
            instance = tx.instances.get(interval.instance_id)
            used[interval.instance_id] = Used(
                interval.instance_id,
                instance.name if instance is not None else interval.instance_id,
                seconds + (before.seconds if before else 0),
                cost + (before.cost_micro if before else 0),
            )
        return sorted(used.values(), key=lambda u: -u.cost_micro)

    return await yard.store.read(look)


def _part(interval: UsageInterval, start: datetime, end: datetime) -> tuple[float, int]:
    """Differences of running totals, so that the parts of an interval add up to the whole."""
    whole_end = interval.ended_at or end
    since, until = (min(max(at, interval.started_at), whole_end) for at in (start, end))
    cost = cost_micro(interval.price_per_hour_micro, until - interval.started_at) - cost_micro(
        interval.price_per_hour_micro, since - interval.started_at
    )
    return max((until - since).total_seconds(), 0.0), max(cost, 0)


async def credit(yard: Yard, caller: Caller, account_id: str, amount_micro: int, reason: str, key: str) -> Balance:
    """Put money into an account (negative: a correction). The same `key` twice is once. For the yard's operator."""
    caller.must(Scope.YARD)
    now = yard.clock.now()
    target = AccountId(account_id)

    def write(tx: Tx) -> Balance:
        if tx.accounts.get(target) is None:
            raise NotFound(f"there is no account {account_id!r}")
        settle_account(tx, target, now)
        kind = EntryKind.CREDIT if amount_micro >= 0 else EntryKind.CORRECTION
        tx.ledger.append(LedgerEntry(target, kind, amount_micro, f"credit:{target}:{key}", now, reason=reason))
        return balance_of(tx, target)

    return await yard.store.write(write)
