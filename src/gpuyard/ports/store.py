"""What we ask of the database. Transactions are plain functions: they cannot wait for a network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from gpuyard.domain.accounts import Account, Key, Member
from gpuyard.domain.events import Attempt, Event
from gpuyard.domain.executions import Execution, ExecutionState
from gpuyard.domain.ids import AccountId, ExecutionId, InstanceId, IntervalId, KeyId, MemberId
from gpuyard.domain.instances import Instance, InstanceState
from gpuyard.domain.ledger import Hold, LedgerEntry, UsageInterval
from gpuyard.domain.offers import Pool

T = TypeVar("T")


class Store(Protocol):
    """The yard's memory. `fn` may run more than once (PostgreSQL may ask for a retry), so it does
    nothing but read and write through `tx`. Whatever `fn` raises, its writes are undone and the
    error comes out of the call.
    """

    async def write(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` alone among writers, commit durably, then return what it returned.

        Raises StorageFull when the disk takes no more, StoreUnavailable when the database does not answer.
        """
        ...

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` on a consistent snapshot; writers are not kept waiting."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Claim:
    """A time-limited right to work on one instance. `token` only grows, so a late holder is refused."""

    instance_id: InstanceId
    holder: str
    token: int
    until: datetime


@dataclass(frozen=True, slots=True)
class InstanceFilter:
    """All given conditions must hold. `states` None means every state except deleted."""

    states: frozenset[InstanceState] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    gpu_type: str | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """`next_cursor` is opaque text for the next page, None at the end."""

    items: Sequence[T]
    next_cursor: str | None


class Tx(Protocol):
    @property
    def accounts(self) -> Accounts: ...
    @property
    def members(self) -> Members: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def instances(self) -> Instances: ...
    @property
    def allocations(self) -> Allocations: ...
    @property
    def attempts(self) -> Attempts: ...
    @property
    def executions(self) -> Executions: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def events(self) -> Events: ...
    @property
    def idempotency(self) -> Idempotency: ...


class Accounts(Protocol):
    def add(self, account: Account) -> None: ...
    def get(self, account_id: AccountId) -> Account | None: ...
    def all(self) -> Sequence[Account]: ...
    def save(self, account: Account) -> None: ...


class Members(Protocol):
    def add(self, member: Member) -> None: ...
    def get(self, account_id: AccountId, member_id: MemberId) -> Member | None: ...
    def of(self, account_id: AccountId) -> Sequence[Member]: ...
    def save(self, member: Member) -> None: ...
    def remove(self, member_id: MemberId) -> None: ...


class Keys(Protocol):
    def add(self, key: Key) -> None: ...
    def get(self, account_id: AccountId, key_id: KeyId) -> Key | None: ...
    def by_digest(self, digest: str) -> Key | None: ...
    def of(self, account_id: AccountId) -> Sequence[Key]: ...
    def save(self, key: Key) -> None: ...
    def used(self, last_used: Mapping[KeyId, datetime]) -> None:
        """Note when keys were last used; many at once, since exactness is not worth a write per request."""


class Instances(Protocol):
    def add(self, instance: Instance, *, wake_at: datetime | None) -> None:
        """Raises NameTaken if a live instance of the account has the name."""

    def get(self, instance_id: InstanceId) -> Instance | None: ...

    def find(self, account_id: AccountId, ref: str) -> Instance | None:
        """By id, short id or name, within one account. A deleted instance is found by id and short id only."""

    def by_short_id(self, short_id: str) -> Instance | None:
        """Across accounts: for the proxy, which then checks who asks."""

    def page(self, account_id: AccountId, filter: InstanceFilter, *, limit: int, cursor: str | None) -> Page[Instance]:
        """Newest first. Raises Invalid for a cursor that is not one of ours."""

    def save(self, instance: Instance, *, claim: Claim | None = None) -> bool:
        """Write every field. With a claim: only if nobody took it since, even if it has expired; False means somebody
        else has it, or that it was never added. Raises NameTaken."""

    def line(self, wanting: Collection[str] | None = None) -> Sequence[Instance]:
        """Every waiting instance, or those that want any of some GPU types, first in line first: priority, then age."""

    def in_state(self, *states: InstanceState) -> Sequence[Instance]:
        """Across accounts, oldest first."""

    def counts(self) -> Mapping[InstanceState, int]: ...

    def wake(self, instance_id: InstanceId, at: datetime | None) -> None:
        """When a reconciler should look again; None for never unless woken. Keeps the earlier of two instants only
        if the caller does so itself: this sets it."""

    def due(self, now: datetime, *, limit: int) -> Sequence[InstanceId]:
        """Whose time has come and which nobody holds a live claim on; the longest overdue first."""

    def next_wake(self) -> datetime | None:
        """The earliest instant at which somebody is due."""

    def claim(self, instance_id: InstanceId, holder: str, *, now: datetime, until: datetime) -> Claim | None:
        """Take the right to work on it, unless there is a live claim, the holder's own included."""

    def disown(self, holder: str) -> int:
        """Give back whatever `holder` still has, and say how much: for a server that starts where one was killed."""

    def unclaim(self, claim: Claim) -> None:
        """Give it back; of a claim that was lost: no effect."""


class Allocations(Protocol):
    """GPUs promised to instances. One row per instance and pool, gone when the GPUs are free again."""

    def put(self, instance_id: InstanceId, pools: Mapping[Pool, int]) -> None: ...
    def drop(self, instance_id: InstanceId) -> bool:
        """True if there was something to give back."""

    def in_use(self) -> Mapping[Pool, int]: ...
    def of(self, instance_id: InstanceId) -> Mapping[Pool, int]: ...


class Attempts(Protocol):
    def note(self, instance_id: InstanceId, *, at: datetime, outcome: str, reason: str) -> None:
        """Same outcome and reason as the last one: count it there; else a new attempt."""

    def of(self, instance_id: InstanceId) -> Sequence[Attempt]: ...


class Executions(Protocol):
    def add(self, execution: Execution) -> None: ...
    def get(self, execution_id: ExecutionId) -> Execution | None: ...
    def page(
        self,
        instance_id: InstanceId,
        *,
        states: frozenset[ExecutionState] | None = None,
        limit: int,
        cursor: str | None,
    ) -> Page[Execution]:
        """Newest first."""

    def unfinished(self, instance_id: InstanceId | None = None) -> Sequence[Execution]: ...
    def save(self, execution: Execution) -> None: ...


class Ledger(Protocol):
    def append(self, entry: LedgerEntry) -> bool:
        """False if the account has an entry with this idempotency key already."""

    def balance(self, account_id: AccountId) -> int:
        """Sum of all entries, in micro."""

    def entries(self, account_id: AccountId, *, limit: int, cursor: str | None) -> Page[LedgerEntry]:
        """Newest first."""

    def open_interval(self, interval: UsageInterval) -> None:
        """Of one instance only one may be open at a time: a second would charge it twice, and is refused as a bug."""

    def open_intervals(self) -> Sequence[UsageInterval]: ...
    def intervals(self, instance_id: InstanceId) -> Sequence[UsageInterval]: ...
    def intervals_between(self, account_id: AccountId, start: datetime, end: datetime) -> Sequence[UsageInterval]:
        """Those that overlap [start, end)."""

    def save_interval(self, interval: UsageInterval) -> None:
        """Write `ended_at` and `charged_micro`."""

    def get_interval(self, interval_id: IntervalId) -> UsageInterval | None: ...
    def hold(self, hold: Hold) -> None:
        """Set or replace the hold of an instance."""

    def release_hold(self, instance_id: InstanceId) -> None: ...
    def held(self, account_id: AccountId) -> int:
        """Sum of open holds, in micro."""


class Events(Protocol):
    def add(self, event: Event) -> None:
        """It is numbered at the commit, so that who goes on from the last `seq` seen misses none; until then
        `after` and `last_seq` do not see it, in the same transaction neither."""

    def after(self, account_id: AccountId, seq: int, *, limit: int, subject: str | None = None) -> Sequence[Event]:
        """Oldest first, those with a larger `seq`."""

    def last_seq(self) -> int: ...


class Idempotency(Protocol):
    """Remembers which request an Idempotency-Key stood for and what it made."""

    def get(self, account_id: AccountId, key: str) -> tuple[str, str] | None:
        """(digest of the request, id of what it made)."""

    def put(self, account_id: AccountId, key: str, *, digest: str, made: str, at: datetime) -> None: ...
    def forget_before(self, instant: datetime) -> int: ...
