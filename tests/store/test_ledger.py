from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from gpuyard.domain.accounts import Account
from gpuyard.domain.errors import Invalid
from gpuyard.domain.ids import new_interval_id
from gpuyard.domain.instances import Instance
from gpuyard.domain.ledger import EntryKind, Hold, LedgerEntry
from gpuyard.ports.store import Tx
from gpuyard.store import SqlStore
from tests.store.builders import NOW, SECOND, an_entry, an_instance, an_interval, settled, stored


@pytest.fixture
async def instance(store: SqlStore, account: Account) -> Instance:
    instance = an_instance(account.id)
    await stored(store, instance)
    return instance


async def test_the_balance_is_the_sum_of_the_entries(store: SqlStore, account: Account) -> None:
    other = await settled(store)
    entries = [an_entry(account.id, amount, f"k{amount}") for amount in (10**15, -7, 3)]

    await store.write(lambda tx: [tx.ledger.append(entry) for entry in (*entries, an_entry(other.id, 5, "x"))])

    assert await store.read(lambda tx: tx.ledger.balance(account.id)) == 10**15 - 4
    assert await store.read(lambda tx: tx.ledger.balance(other.id)) == 5


async def test_an_account_without_entries_has_nothing(store: SqlStore, account: Account) -> None:
    assert await store.read(lambda tx: tx.ledger.balance(account.id)) == 0


async def test_the_same_entry_twice_counts_once(store: SqlStore, account: Account) -> None:
    entry = an_entry(account.id, -5, "usage:1:5")

    assert await store.write(lambda tx: tx.ledger.append(entry)) is True
    assert await store.write(lambda tx: tx.ledger.append(replace(entry, amount_micro=-9))) is False

    assert await store.read(lambda tx: tx.ledger.balance(account.id)) == -5


async def test_two_accounts_may_use_the_same_key(store: SqlStore, account: Account) -> None:
    other = await settled(store)

    await store.write(lambda tx: tx.ledger.append(an_entry(account.id, 1, "k")))

    assert await store.write(lambda tx: tx.ledger.append(an_entry(other.id, 2, "k"))) is True


async def test_a_failed_function_leaves_neither_entry_nor_balance(store: SqlStore, account: Account) -> None:
    def fail(tx: Tx) -> None:
        tx.ledger.append(an_entry(account.id, 5, "k"))
        raise LookupError

    with pytest.raises(LookupError):
        await store.write(fail)

    assert await store.read(lambda tx: tx.ledger.balance(account.id)) == 0
    assert await store.write(lambda tx: tx.ledger.append(an_entry(account.id, 5, "k"))) is True


async def test_the_kept_balance_equals_the_sum_after_many_writers(store: SqlStore, account: Account) -> None:
    # given: every amount twice, so that half of the appends must not count
    async def append(n: int) -> bool:
        return await store.write(lambda tx: tx.ledger.append(an_entry(account.id, n - 50, f"k{n}")))

    counted = await asyncio.gather(*[append(n % 100) for n in range(200)])

    page = await store.read(lambda tx: tx.ledger.entries(account.id, limit=1000, cursor=None))
    balance = await store.read(lambda tx: tx.ledger.balance(account.id))
    assert sum(counted) == len(page.items) == 100
    assert balance == sum(entry.amount_micro for entry in page.items) == sum(range(-50, 50))


async def test_entries_are_paged_the_last_written_first(store: SqlStore, account: Account, instance: Instance) -> None:
    entries = [
        LedgerEntry(account.id, EntryKind.USAGE, -n, f"k{n}", NOW - n * SECOND, instance.id, "a \x00 reason")
        for n in range(7)
    ]
    await store.write(lambda tx: [tx.ledger.append(entry) for entry in entries])

    found, cursor = [], None
    while True:
        page = await store.read(lambda tx, c=cursor: tx.ledger.entries(account.id, limit=3, cursor=c))
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break

    assert found == entries[::-1]


async def test_a_foreign_cursor_of_entries_is_invalid(store: SqlStore, account: Account) -> None:
    with pytest.raises(Invalid):
        await store.read(lambda tx: tx.ledger.entries(account.id, limit=3, cursor="W10"))


async def test_an_interval_is_open_until_its_end_is_saved(store: SqlStore, instance: Instance) -> None:
    interval = an_interval(instance)
    await store.write(lambda tx: tx.ledger.open_interval(interval))
    assert await store.read(lambda tx: tx.ledger.open_intervals()) == [interval]
    ended = replace(interval, ended_at=NOW + SECOND, charged_micro=1000)

    await store.write(lambda tx: tx.ledger.save_interval(ended))

    assert await store.read(lambda tx: tx.ledger.open_intervals()) == []
    assert await store.read(lambda tx: tx.ledger.get_interval(interval.id)) == ended
    assert await store.read(lambda tx: tx.ledger.get_interval(new_interval_id())) is None


async def test_an_instance_has_one_open_interval_at_most(store: SqlStore, instance: Instance) -> None:
    await store.write(lambda tx: tx.ledger.open_interval(an_interval(instance)))

    with pytest.raises(Exception, match=r"(?i)unique"):
        await store.write(lambda tx: tx.ledger.open_interval(an_interval(instance, start=SECOND)))

    assert len(await store.read(lambda tx: tx.ledger.intervals(instance.id))) == 1


async def test_intervals_between_are_those_that_overlap(store: SqlStore, account: Account, instance: Instance) -> None:
    hour = timedelta(hours=1)
    before = an_interval(instance, start=-2 * hour, end=-hour)
    touching_start = an_interval(instance, start=-hour, end=timedelta())
    across_start = an_interval(instance, start=-hour, end=SECOND)
    within = an_interval(instance, start=SECOND, end=2 * SECOND)
    still_open = an_interval(instance, start=3 * SECOND)
    at_end = an_interval(instance, start=hour, end=2 * hour)
    everything = [before, touching_start, across_start, within, still_open, at_end]
    await store.write(lambda tx: [tx.ledger.open_interval(interval) for interval in everything])
    other = await settled(store)

    found = await store.read(lambda tx: tx.ledger.intervals_between(account.id, NOW, NOW + hour))

    assert found == [across_start, within, still_open]
    assert await store.read(lambda tx: tx.ledger.intervals_between(other.id, NOW, NOW + hour)) == []
    assert await store.read(lambda tx: tx.ledger.intervals(instance.id)) == sorted(
        everything, key=lambda interval: (interval.started_at, interval.id)
    )


async def test_held_is_the_sum_of_open_holds(store: SqlStore, account: Account, instance: Instance) -> None:
    other_instance = an_instance(account.id)
    await stored(store, other_instance)
    await store.write(lambda tx: tx.ledger.hold(Hold(instance.id, account.id, 5, NOW)))
    await store.write(lambda tx: tx.ledger.hold(Hold(other_instance.id, account.id, 7, NOW)))
    assert await store.read(lambda tx: tx.ledger.held(account.id)) == 12

    await store.write(lambda tx: tx.ledger.hold(Hold(instance.id, account.id, 1, NOW)))
    await store.write(lambda tx: tx.ledger.release_hold(other_instance.id))
    await store.write(lambda tx: tx.ledger.release_hold(other_instance.id))

    assert await store.read(lambda tx: tx.ledger.held(account.id)) == 1
