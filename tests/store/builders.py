"""Values to store that state only what matters to a test."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from gpuyard.domain.accounts import Account, Key, Member, Role, Scope
from gpuyard.domain.executions import Execution, ExecutionKind, ExecutionState
from gpuyard.domain.ids import (
    AccountId,
    InstanceId,
    KeyId,
    MemberId,
    new_account_id,
    new_execution_id,
    new_instance_id,
    new_interval_id,
    new_key_id,
    new_member_id,
    short_id,
)
from gpuyard.domain.instances import GpuRequest, Instance, InstanceSpec, InstanceState
from gpuyard.domain.ledger import EntryKind, LedgerEntry, UsageInterval
from gpuyard.ports.store import Store, Tx

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def an_account(name: str = "vision", *, age: timedelta = timedelta()) -> Account:
    return Account(new_account_id(), name, NOW - age)


def a_member(account_id: AccountId, name: str = "ada", *, age: timedelta = timedelta()) -> Member:
    return Member(new_member_id(), account_id, name, Role.MEMBER, NOW - age)


def a_key(account_id: AccountId, *, digest: str = "d1", age: timedelta = timedelta()) -> Key:
    scopes = frozenset({Scope.READ, Scope.RUN})
    return Key(new_key_id(), account_id, MemberId("mem_1"), "laptop", digest, "sk_compute_8G3a…", scopes, NOW - age)


def an_instance(
    account_id: AccountId,
    state: InstanceState = InstanceState.WAITING,
    *,
    name: str | None = None,
    age: timedelta = timedelta(),
    labels: Mapping[str, str] | None = None,
    gpus: Mapping[str, int] | None = None,
    provider: str | None = None,
    priority: int = 50,
    id: InstanceId | None = None,
) -> Instance:
    instance_id = id or new_instance_id()
    return Instance(
        id=instance_id,
        short_id=short_id(instance_id),
        account_id=account_id,
        created_by=KeyId("key_1"),
        name=name or f"compute-gpu-{short_id(instance_id)}",
        state=state,
        entered_at=NOW - age,
        created_at=NOW - age,
        spec=InstanceSpec(tuple(GpuRequest(gpu, count) for gpu, count in (gpus or {"nvidia-rtx-3090": 1}).items())),
        labels=labels or {},
        provider=provider,
        region=None if provider is None else "here",
        priority=priority,
    )


def an_execution(
    instance: Instance, state: ExecutionState = ExecutionState.ACCEPTED, *, age: timedelta = timedelta()
) -> Execution:
    return Execution(
        new_execution_id(), instance.account_id, instance.id, ExecutionKind.SHELL, state, NOW - age, "echo hello"
    )


def an_entry(account_id: AccountId, amount_micro: int, key: str, *, kind: EntryKind = EntryKind.CREDIT) -> LedgerEntry:
    return LedgerEntry(account_id, kind, amount_micro, key, NOW)


def an_interval(instance: Instance, *, start: timedelta = timedelta(), end: timedelta | None = None) -> UsageInterval:
    """`start` and `end` are counted from NOW."""
    return UsageInterval(
        new_interval_id(),
        instance.account_id,
        instance.id,
        3_600_000,
        NOW + start,
        None if end is None else NOW + end,
    )


async def settled(store: Store) -> Account:
    """An account that is in the store."""
    account = an_account()
    await store.write(lambda tx: tx.accounts.add(account))
    return account


async def stored(store: Store, *instances: Instance, wake_at: datetime | None = None) -> None:
    def add(tx: Tx) -> None:
        for instance in instances:
            tx.instances.add(instance, wake_at=wake_at)

    await store.write(add)
