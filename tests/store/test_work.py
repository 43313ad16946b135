"""Allocations, attempts, executions, idempotency keys and events."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gpuyard.domain.accounts import Account
from gpuyard.domain.errors import Invalid
from gpuyard.domain.events import Attempt, Event
from gpuyard.domain.executions import EXECUTION_ENDED, ExecutionState
from gpuyard.domain.ids import InstanceId, new_execution_id
from gpuyard.domain.instances import Instance
from gpuyard.domain.offers import Pool
from gpuyard.ports.store import Tx
from gpuyard.store import SqlStore
from tests.store.builders import NOW, SECOND, an_execution, an_instance, settled, stored

L4, H100 = Pool("local", "here", "l4"), Pool("novita", "eu", "h100")
X = ExecutionState


@pytest.fixture
async def instance(store: SqlStore, account: Account) -> Instance:
    instance = an_instance(account.id)
    await stored(store, instance)
    return instance


@pytest.fixture
async def other_instance(store: SqlStore, account: Account) -> Instance:
    instance = an_instance(account.id)
    await stored(store, instance)
    return instance


async def test_gpus_in_use_are_the_sum_of_all_promises(
    store: SqlStore, instance: Instance, other_instance: Instance
) -> None:
    await store.write(lambda tx: tx.allocations.put(instance.id, {L4: 2, H100: 1}))
    await store.write(lambda tx: tx.allocations.put(other_instance.id, {L4: 1}))

    assert await store.read(lambda tx: tx.allocations.in_use()) == {L4: 3, H100: 1}
    assert await store.read(lambda tx: tx.allocations.of(instance.id)) == {L4: 2, H100: 1}


async def test_a_new_promise_replaces_the_old_one(store: SqlStore, instance: Instance) -> None:
    await store.write(lambda tx: tx.allocations.put(instance.id, {L4: 2}))

    await store.write(lambda tx: tx.allocations.put(instance.id, {H100: 1}))

    assert await store.read(lambda tx: tx.allocations.in_use()) == {H100: 1}


async def test_a_promise_is_given_back_once(store: SqlStore, instance: Instance) -> None:
    await store.write(lambda tx: tx.allocations.put(instance.id, {L4: 2}))

    assert await store.write(lambda tx: tx.allocations.drop(instance.id)) is True
    assert await store.write(lambda tx: tx.allocations.drop(instance.id)) is False
    assert await store.read(lambda tx: tx.allocations.in_use()) == {}
    assert await store.read(lambda tx: tx.allocations.of(instance.id)) == {}


async def test_attempts_alike_in_a_row_are_counted_as_one(
    store: SqlStore, instance: Instance, other_instance: Instance
) -> None:
    def note(tx: Tx) -> None:
        tx.attempts.note(instance.id, at=NOW, outcome="no_capacity", reason="l4 is not free")
        tx.attempts.note(instance.id, at=NOW + SECOND, outcome="no_capacity", reason="l4 is not free")
        tx.attempts.note(instance.id, at=NOW + 2 * SECOND, outcome="no_capacity", reason="h100 is not free")
        tx.attempts.note(instance.id, at=NOW + 3 * SECOND, outcome="no_capacity", reason="l4 is not free")
        tx.attempts.note(other_instance.id, at=NOW, outcome="placed", reason="")

    await store.write(note)

    assert await store.read(lambda tx: tx.attempts.of(instance.id)) == [
        Attempt(1, NOW, NOW + SECOND, 2, "no_capacity", "l4 is not free"),
        Attempt(2, NOW + 2 * SECOND, NOW + 2 * SECOND, 1, "no_capacity", "h100 is not free"),
        Attempt(3, NOW + 3 * SECOND, NOW + 3 * SECOND, 1, "no_capacity", "l4 is not free"),
    ]


async def test_a_saved_execution_has_its_end(store: SqlStore, instance: Instance) -> None:
    execution = an_execution(instance)
    await store.write(lambda tx: tx.executions.add(execution))
    ended = replace(
        execution,
        state=X.FAILED,
        started_at=NOW,
        ended_at=NOW + SECOND,
        exit_code=3,
        reason="timeout",
        result="\x00",
        output_bytes=2**40,
    )

    await store.write(lambda tx: tx.executions.save(ended))

    assert await store.read(lambda tx: tx.executions.get(execution.id)) == ended
    assert await store.read(lambda tx: tx.executions.get(new_execution_id())) is None


async def test_executions_are_paged_newest_first(store: SqlStore, instance: Instance, other_instance: Instance) -> None:
    executions = [an_execution(instance, age=n // 2 * SECOND) for n in range(7)]
    await store.write(lambda tx: [tx.executions.add(x) for x in (*executions, an_execution(other_instance))])
    expected = sorted(executions, key=lambda x: (x.created_at, x.id), reverse=True)

    found, cursor = [], None
    while True:
        page = await store.read(lambda tx, c=cursor: tx.executions.page(instance.id, limit=3, cursor=c))
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break

    assert found == expected


async def test_executions_are_filtered_by_state(store: SqlStore, instance: Instance) -> None:
    executions = {state: an_execution(instance, state) for state in X}
    await store.write(lambda tx: [tx.executions.add(x) for x in executions.values()])

    page = await store.read(
        lambda tx: tx.executions.page(instance.id, states=frozenset({X.LOST, X.FAILED}), limit=9, cursor=None)
    )
    none = await store.read(lambda tx: tx.executions.page(instance.id, states=frozenset(), limit=9, cursor=None))

    assert {x.state for x in page.items} == {X.LOST, X.FAILED}
    assert none.items == []


async def test_a_foreign_cursor_of_executions_is_invalid(store: SqlStore, instance: Instance) -> None:
    with pytest.raises(Invalid):
        await store.read(lambda tx: tx.executions.page(instance.id, limit=9, cursor="bm9uc2Vuc2U"))


async def test_unfinished_are_those_that_have_not_ended(
    store: SqlStore, instance: Instance, other_instance: Instance
) -> None:
    executions = [an_execution(instance, state, age=n * SECOND) for n, state in enumerate(X)]
    elsewhere = an_execution(other_instance, X.RUNNING, age=timedelta(hours=1))
    await store.write(lambda tx: [tx.executions.add(x) for x in (*executions, elsewhere)])
    open_here = [x for x in reversed(executions) if x.state not in EXECUTION_ENDED]

    assert await store.read(lambda tx: tx.executions.unfinished(instance.id)) == open_here
    assert await store.read(lambda tx: tx.executions.unfinished()) == [elsewhere, *open_here]


async def test_an_idempotency_key_remembers_its_request_per_account(store: SqlStore, account: Account) -> None:
    other = await settled(store)

    await store.write(lambda tx: tx.idempotency.put(account.id, "k\x00", digest="d", made="inst_1", at=NOW))

    assert await store.read(lambda tx: tx.idempotency.get(account.id, "k\x00")) == ("d", "inst_1")
    assert await store.read(lambda tx: tx.idempotency.get(other.id, "k\x00")) is None


async def test_old_idempotency_keys_are_forgotten(store: SqlStore, account: Account) -> None:
    await store.write(lambda tx: tx.idempotency.put(account.id, "old", digest="d", made="1", at=NOW - SECOND))
    await store.write(lambda tx: tx.idempotency.put(account.id, "new", digest="d", made="2", at=NOW))

    assert await store.write(lambda tx: tx.idempotency.forget_before(NOW)) == 1

    assert await store.read(lambda tx: tx.idempotency.get(account.id, "old")) is None
    assert await store.read(lambda tx: tx.idempotency.get(account.id, "new")) == ("d", "2")


async def test_an_idempotency_key_used_anew_stands_for_the_new_request(store: SqlStore, account: Account) -> None:
    await store.write(lambda tx: tx.idempotency.put(account.id, "k", digest="d", made="1", at=NOW))

    await store.write(lambda tx: tx.idempotency.put(account.id, "k", digest="e", made="2", at=NOW))

    assert await store.read(lambda tx: tx.idempotency.get(account.id, "k")) == ("e", "2")


def an_event(account: Account, subject: str, kind: str = "instance.running") -> Event:
    return Event(account.id, subject, kind, NOW, {"price": 1, "why": "\x00ü"})


async def test_events_come_oldest_first_with_growing_numbers(store: SqlStore, account: Account) -> None:
    one, two = an_event(account, "inst_1"), an_event(account, "inst_2")

    await store.write(lambda tx: (tx.events.add(one), tx.events.add(two)))

    events = await store.read(lambda tx: tx.events.after(account.id, 0, limit=9))
    assert [replace(event, seq=0) for event in events] == [one, two]
    assert 0 < events[0].seq < events[1].seq
    assert await store.read(lambda tx: tx.events.last_seq()) == events[1].seq


async def test_events_go_on_after_the_last_number_seen(store: SqlStore, account: Account) -> None:
    other = await settled(store)
    mine = [an_event(account, f"inst_{n % 2}") for n in range(6)]
    for event in mine:
        await store.write(lambda tx, event=event: (tx.events.add(event), tx.events.add(an_event(other, "inst_9"))))
    seen = await store.read(lambda tx: tx.events.after(account.id, 0, limit=2))

    rest = await store.read(lambda tx: tx.events.after(account.id, seen[-1].seq, limit=99))
    ones = await store.read(lambda tx: tx.events.after(account.id, seen[-1].seq, limit=99, subject="inst_1"))

    assert [replace(event, seq=0) for event in rest] == mine[2:]
    assert [event.subject for event in ones] == ["inst_1", "inst_1"]


async def test_a_function_that_raises_leaves_no_event(store: SqlStore, account: Account) -> None:
    def fail(tx: Tx) -> None:
        tx.events.add(an_event(account, "inst_1"))
        raise LookupError

    with pytest.raises(LookupError):
        await store.write(fail)

    assert await store.read(lambda tx: tx.events.after(account.id, 0, limit=9)) == []


async def test_there_is_no_last_number_in_an_empty_yard(store: SqlStore) -> None:
    assert await store.read(lambda tx: tx.events.last_seq()) == 0


async def test_an_allocation_needs_its_instance(store: SqlStore) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        await store.write(lambda tx: tx.allocations.put(InstanceId("inst_none"), {L4: 1}))
