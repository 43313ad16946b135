"""What was used, what it cost, and when a limit is reached."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from gpuyard.domain.ids import AccountId, InstanceId, IntervalId
from gpuyard.domain.instances import Limits
from gpuyard.domain.money import cost_micro, lasts_for


class EntryKind(StrEnum):
    USAGE = "usage"
    CREDIT = "credit"
    """Money an operator put in."""
    CORRECTION = "correction"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One signed amount, never changed. The same `idempotency_key` twice is one entry."""

    account_id: AccountId
    kind: EntryKind
    amount_micro: int
    """Negative for what the account pays."""
    idempotency_key: str
    at: datetime
    instance_id: InstanceId | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class UsageInterval:
    """One stretch of running at one price. Open while `ended_at` is None."""

    id: IntervalId
    account_id: AccountId
    instance_id: InstanceId
    price_per_hour_micro: int
    started_at: datetime
    ended_at: datetime | None = None
    charged_micro: int = 0
    seen_at: datetime | None = None
    """When the machine was last seen running: what is found gone is charged to here and no further."""

    def cost_until(self, now: datetime) -> int:
        """The whole cost of the interval up to `now`, or to its end."""
        return cost_micro(self.price_per_hour_micro, (self.ended_at or now) - self.started_at)

    def lasted_until(self, now: datetime) -> timedelta:
        return max((self.ended_at or now) - self.started_at, timedelta())


def charge(interval: UsageInterval, now: datetime) -> LedgerEntry | None:
    """The entry that brings what was charged up to what was used; None when it is already there.

    Its key names the sum reached, so a pass that runs twice charges once.
    """
    reached = interval.cost_until(now)
    owed = reached - interval.charged_micro
    if owed <= 0:
        return None
    return LedgerEntry(
        interval.account_id,
        EntryKind.USAGE,
        -owed,
        f"usage:{interval.id}:{reached}",
        interval.ended_at or now,
        interval.instance_id,
    )


@dataclass(frozen=True, slots=True)
class Hold:
    """Money set aside when an instance is ordered; given back when it no longer can cost anything."""

    instance_id: InstanceId
    account_id: AccountId
    amount_micro: int
    at: datetime


def hold_amount(price_per_hour_micro: int, limits: Limits) -> int:
    """One hour, or what the instance may cost at most if that is less."""
    if limits.max_cost_micro is None:
        return price_per_hour_micro
    return min(price_per_hour_micro, limits.max_cost_micro)


@dataclass(frozen=True, slots=True)
class Reached:
    """The first limit that will end a run, and when."""

    limit: str
    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Funds:
    """What an account may still spend, what it used but was not yet charged for taken off, and how fast all that it
    runs spends it."""

    left_micro: int
    per_hour_micro: int


def first_limit(
    limits: Limits,
    *,
    spent_micro: int,
    ran_for: timedelta,
    price_per_hour_micro: int,
    now: datetime,
    idle_since: datetime | None,
    funds: Funds | None = None,
) -> Reached | None:
    """When a running instance stops by itself if nothing changes; None if it never does. In the past where we are late.

    `spent_micro` and `ran_for` are totals up to `now` over all its intervals. `funds` are its account's; None where
    that may spend without limit. What costs nothing goes on without money.
    """
    candidates: list[Reached] = []
    if limits.max_cost_micro is not None:
        left = lasts_for(price_per_hour_micro, limits.max_cost_micro - spent_micro)
        if left is not None:
            candidates.append(Reached("max_cost", now + left, "it reached its cost limit"))
    if limits.max_duration is not None:
        candidates.append(Reached("max_duration", now + limits.max_duration - ran_for, "it reached its duration limit"))
    if funds is not None and price_per_hour_micro > 0:
        left = lasts_for(funds.per_hour_micro, funds.left_micro)
        if left is not None:
            candidates.append(Reached("balance", now + left, "its account's money is used up"))
    if limits.max_idle is not None and idle_since is not None:
        candidates.append(Reached("max_idle", idle_since + limits.max_idle, "it was idle for as long as allowed"))
    return min(candidates, key=lambda reached: reached.at, default=None)
