from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuyard.domain.accounts import Account, Key, Scope
from gpuyard.domain.executions import Execution, ExecutionKind, ExecutionState
from gpuyard.domain.ids import (
    AccountId,
    ExecutionId,
    InstanceId,
    IntervalId,
    KeyId,
    MemberId,
    new_execution_id,
    new_interval_id,
    new_key_id,
)
from gpuyard.domain.instances import GpuRequest, Instance, InstanceSpec, InstanceState, Limits, Placement
from gpuyard.domain.ledger import UsageInterval
from gpuyard.ports.store import Tx
from gpuyard.store import SqlStore
from gpuyard.store.values import exact, instant, micros, plain
from tests.store.builders import an_instance, stored

# Everything a program may write, lone surrogates and NUL included.
anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=20) | st.sampled_from(
    ['"', '"quoted"', "\x00", "\ud800", "{}", "null", ""]
)
word = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)
instants = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
durations = st.timedeltas(timedelta(), timedelta(days=100_000))
money = st.integers(-(2**62), 2**62)
small = st.integers(0, 2**31 - 1)
env = st.dictionaries(anything, anything, max_size=3)


def maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | strategy


def instances(account_id: AccountId, state: st.SearchStrategy[InstanceState]) -> st.SearchStrategy[Instance]:
    specs = st.builds(
        InstanceSpec,
        st.lists(st.builds(GpuRequest, word, st.integers(1, 99)), max_size=3).map(tuple),
        small,
        small,
        small,
        word,
        env,
        st.lists(st.integers(1, 65535), max_size=3).map(tuple),
    )
    limits = st.builds(Limits, maybe(money), maybe(durations), maybe(durations), maybe(durations))
    words = st.lists(word, max_size=2).map(tuple)

    def with_ids(fields: dict[str, object]) -> Instance:
        base = an_instance(account_id)
        return Instance(id=base.id, short_id=base.short_id, account_id=account_id, name=base.name, **fields)

    return st.fixed_dictionaries(
        {
            "created_by": word.map(KeyId),
            "state": state,
            "entered_at": instants,
            "created_at": instants,
            "spec": specs,
            "state_reason": anything,
            "labels": st.dictionaries(word, anything, max_size=3),
            "limits": limits,
            "placement": st.builds(Placement, words, words, maybe(money)),
            "priority": st.integers(0, 100),
            "provider": maybe(word),
            "region": maybe(word),
            "simulated": st.booleans(),
            "price_per_hour_micro": maybe(money),
            "running_at": maybe(instants),
            "has_disk": st.booleans(),
        }
    ).map(with_ids)


def executions(instance: Instance) -> st.SearchStrategy[Execution]:
    return st.builds(
        Execution,
        st.builds(new_execution_id),
        st.just(instance.account_id),
        st.just(instance.id),
        st.sampled_from(ExecutionKind),
        st.sampled_from(ExecutionState),
        instants,
        anything,
        st.lists(anything, max_size=3).map(tuple),
        anything,
        st.booleans(),
        anything,
        env,
        maybe(durations),
        maybe(instants),
        maybe(instants),
        maybe(st.integers(-(2**31), 2**31)),
        anything,
        maybe(anything),
        st.integers(0, 2**62),
    )


def keys(account_id: AccountId) -> st.SearchStrategy[Key]:
    return st.builds(
        Key,
        st.builds(new_key_id),
        st.just(account_id),
        word.map(MemberId),
        anything,
        st.builds(new_key_id),  # any unique text will do for a digest
        anything,
        st.frozensets(st.sampled_from(Scope)),
        instants,
        maybe(word.map(InstanceId)),
        maybe(instants),
        maybe(instants),
        maybe(instants),
    )


def intervals(instance: Instance) -> st.SearchStrategy[UsageInterval]:
    return st.builds(
        UsageInterval,
        st.builds(new_interval_id),
        st.just(instance.account_id),
        st.just(instance.id),
        money,
        instants,
        instants,
        money,
    )


def drawn(strategy: st.SearchStrategy, count: int = 100) -> list:
    """Values of a strategy, all at once: storing them together is one commit instead of a hundred."""
    found: list = []

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def draw(value: object) -> None:
        found.append(value)

    draw()
    return list({value.id: value for value in found}.values())


async def test_every_instance_comes_back_as_it_went_in(store: SqlStore, account: Account) -> None:
    values = drawn(instances(account.id, st.sampled_from(InstanceState)))

    await stored(store, *values)

    for value in values:
        assert await store.read(lambda tx, value=value: tx.instances.get(value.id)) == value


async def test_every_instance_comes_back_as_it_was_saved(store: SqlStore, account: Account) -> None:
    first = an_instance(account.id)
    await stored(store, first)
    never = {"id", "short_id", "account_id", "created_by", "created_at", "name"}

    for value in drawn(instances(account.id, st.sampled_from(InstanceState)), 30):
        saved = Instance(
            **{field.name: getattr(first if field.name in never else value, field.name) for field in fields(Instance)}
        )
        await store.write(lambda tx, saved=saved: tx.instances.save(saved))
        assert await store.read(lambda tx: tx.instances.get(first.id)) == saved


async def test_every_execution_comes_back_as_it_went_in(store: SqlStore, account: Account) -> None:
    instance = an_instance(account.id)
    await stored(store, instance)
    values = drawn(executions(instance))

    await store.write(lambda tx: [tx.executions.add(value) for value in values])

    for value in values:
        assert await store.read(lambda tx, value=value: tx.executions.get(ExecutionId(value.id))) == value


async def test_every_key_comes_back_as_it_went_in(store: SqlStore, account: Account) -> None:
    values = drawn(keys(account.id))

    await store.write(lambda tx: [tx.keys.add(value) for value in values])

    for value in values:
        assert await store.read(lambda tx, value=value: tx.keys.by_digest(value.digest)) == value


async def test_every_interval_comes_back_as_it_went_in(store: SqlStore, account: Account) -> None:
    instance = an_instance(account.id)
    await stored(store, instance)
    values = drawn(intervals(instance))

    await store.write(lambda tx: [tx.ledger.open_interval(value) for value in values])

    for value in values:
        assert await store.read(lambda tx, value=value: tx.ledger.get_interval(IntervalId(value.id))) == value


@given(anything)
def test_text_is_kept_exactly_and_in_a_form_databases_take(text: str) -> None:
    kept = plain(text)

    assert exact(kept) == text
    assert "\x00" not in kept
    kept.encode()


@given(st.datetimes(timezones=st.timezones() | st.just(timezone(timedelta(hours=5, minutes=30)))))
def test_an_instant_is_the_same_instant_in_utc(at: datetime) -> None:
    try:
        utc = at.astimezone(UTC)
    except OverflowError:
        return

    assert instant(micros(at)) == utc
    assert instant(micros(at)).tzinfo is UTC


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        micros(datetime(2026, 3, 1))  # noqa: DTZ001


async def test_a_value_too_large_for_the_database_undoes_only_its_function(store: SqlStore, account: Account) -> None:
    def too_much(tx: Tx) -> None:
        tx.accounts.save(Account(account.id, "x", account.created_at, credit_micro=2**70))

    with pytest.raises(Exception, match=r"(?i)too large|out of range|overflow"):
        await store.write(too_much)

    assert await store.read(lambda tx: tx.accounts.get(account.id)) == account


def test_no_scope_has_a_space_since_spaces_part_them_in_a_row() -> None:
    assert all(" " not in scope for scope in Scope)
