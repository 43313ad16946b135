from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest

from gpuyard.domain.accounts import Account
from gpuyard.domain.errors import NameTaken, NoCapacity
from gpuyard.domain.events import Event
from gpuyard.domain.instances import InstanceState
from gpuyard.domain.offers import Pool
from gpuyard.ports.store import Tx
from gpuyard.store import SqlStore, open_store
from gpuyard.store.postgresql import _EVENTS_LOCK
from tests.store.builders import NOW, an_account, an_entry, an_instance, settled, stored

CARD = Pool("local", "here", "nvidia-h100")
PATIENCE = 20


async def test_write_returns_what_its_function_returned(store: SqlStore) -> None:
    assert await store.write(lambda tx: 42) == 42


async def test_one_function_that_raises_undoes_only_itself(store: SqlStore) -> None:
    # given: a function that keeps the writer busy, so that the others are committed together
    started, go_on = threading.Event(), threading.Event()

    def busy(tx: Tx) -> None:
        started.set()
        go_on.wait(PATIENCE)

    accounts = [an_account(str(n)) for n in range(20)]

    def add(account: Account) -> Callable[[Tx], None]:
        def fn(tx: Tx) -> None:
            tx.accounts.add(account)
            if account.name == "7":
                raise LookupError("seven")

        return fn

    first = asyncio.create_task(store.write(busy))
    await asyncio.to_thread(started.wait, PATIENCE)
    writes = [asyncio.create_task(store.write(add(account))) for account in accounts]
    await asyncio.sleep(0)
    go_on.set()

    outcomes = await asyncio.gather(*writes, return_exceptions=True)

    await first
    assert [str(outcome) for outcome in outcomes if outcome] == ["seven"]
    names = {account.name for account in await store.read(lambda tx: tx.accounts.all())}
    assert names == {str(n) for n in range(20)} - {"7"}


async def test_an_error_of_the_database_undoes_only_its_function(store: SqlStore) -> None:
    account = an_account()

    outcomes = await asyncio.gather(
        *[store.write(lambda tx: tx.accounts.add(account)) for _ in range(5)],
        *[store.write(lambda tx, n=n: tx.accounts.add(an_account(str(n)))) for n in range(5)],
        return_exceptions=True,
    )

    assert sum(outcome is None for outcome in outcomes) == 6
    assert len(await store.read(lambda tx: tx.accounts.all())) == 6


async def test_an_error_of_the_database_that_was_swallowed_still_undoes(store: SqlStore) -> None:
    account = await settled(store)

    def swallow(tx: Tx) -> None:
        tx.accounts.add(an_account("lost"))
        try:
            tx.accounts.add(account)
        except Exception:
            return

    with pytest.raises(Exception, match=r"(?i)unique"):
        await store.write(swallow)

    assert await store.read(lambda tx: tx.accounts.all()) == [account]


@pytest.mark.parametrize("error", [StopIteration("x"), SystemExit(3), GeneratorExit()])
async def test_no_exception_ends_the_writer(store: SqlStore, error: BaseException) -> None:
    def fail(tx: Tx) -> None:
        raise error

    # A SystemExit set on a task would end the event loop, so the future itself is looked at.
    future = store._writer.submit(fail)
    await asyncio.wait([future])

    assert future.exception() is not None
    assert await store.write(lambda tx: "alive") == "alive"


async def test_a_tx_is_of_no_use_after_its_function(store: SqlStore) -> None:
    kept: list[Tx] = []
    await store.write(kept.append)
    await store.read(kept.append)

    for tx in kept:
        with pytest.raises(RuntimeError, match="over"):
            tx.accounts.all()
        with pytest.raises(RuntimeError, match="over"):
            tx.events.add(Event(an_account().id, "x", "y", NOW))


async def test_a_write_inside_read_is_refused(store: SqlStore, account: Account) -> None:
    instance = an_instance(account.id)
    await stored(store, instance)

    for write in (
        lambda tx: tx.accounts.add(an_account()),
        lambda tx: tx.instances.claim(instance.id, "one", now=NOW, until=NOW),
        lambda tx: tx.events.add(Event(account.id, "x", "y", NOW)),
    ):
        with pytest.raises(RuntimeError, match=r"use store\.write"):
            await store.read(write)

    assert await store.read(lambda tx: tx.accounts.all()) == [account]


async def test_a_reader_sees_one_snapshot(store: SqlStore, account: Account) -> None:
    looked, go_on = threading.Event(), threading.Event()

    def read(tx: Tx) -> tuple[int, int]:
        before = len(tx.accounts.all())
        looked.set()
        go_on.wait(PATIENCE)
        return before, len(tx.accounts.all())

    reading = asyncio.create_task(store.read(read))
    await asyncio.to_thread(looked.wait, PATIENCE)
    await settled(store)
    go_on.set()

    assert await reading == (1, 1)
    assert len(await store.read(lambda tx: tx.accounts.all())) == 2


async def test_readers_do_not_wait_for_a_writer(store: SqlStore, account: Account) -> None:
    started, go_on = threading.Event(), threading.Event()

    def write(tx: Tx) -> None:
        tx.accounts.add(an_account())
        started.set()
        go_on.wait(PATIENCE)

    writing = asyncio.create_task(store.write(write))
    await asyncio.to_thread(started.wait, PATIENCE)

    seen = await store.read(lambda tx: tx.accounts.all())

    assert not writing.done()
    go_on.set()
    await writing
    assert seen == [account]


async def test_what_was_written_is_read_at_once(store: SqlStore) -> None:
    for _ in range(50):
        account = await settled(store)
        assert await store.read(lambda tx, wanted=account.id: tx.accounts.get(wanted)) == account


async def test_a_cancelled_caller_leaves_the_write_done_or_not_done(store: SqlStore) -> None:
    accounts = [an_account(str(n)) for n in range(100)]
    writes = [asyncio.create_task(store.write(lambda tx, a=account: tx.accounts.add(a))) for account in accounts]
    await asyncio.sleep(0)
    for write in writes[::2]:
        write.cancel()

    outcomes = await asyncio.gather(*writes, return_exceptions=True)

    there = {account.id for account in await store.read(lambda tx: tx.accounts.all())}
    acknowledged = {account.id for account, outcome in zip(accounts, outcomes, strict=True) if outcome is None}
    assert acknowledged == {account.id for account in accounts[1::2]}
    assert acknowledged <= there


async def test_close_commits_what_was_asked_before(store: SqlStore, open_another: Callable[[], SqlStore]) -> None:
    writes = [asyncio.create_task(store.write(lambda tx: tx.accounts.add(an_account()))) for _ in range(50)]
    await asyncio.sleep(0)

    await store.close()

    await asyncio.gather(*writes)
    assert len(await open_another().read(lambda tx: tx.accounts.all())) == 50


async def test_a_closed_store_says_so(store: SqlStore) -> None:
    await store.close()
    await store.close()

    with pytest.raises(RuntimeError):
        await store.write(lambda tx: None)
    with pytest.raises(RuntimeError):
        await store.read(lambda tx: None)


def test_every_event_loop_of_the_process_may_use_one_store(url: str) -> None:
    store = open_store(url)

    def work() -> None:
        async def write_and_read() -> None:
            for _ in range(20):
                account = await settled(store)
                assert await store.read(lambda tx, wanted=account.id: tx.accounts.get(wanted)) == account

        asyncio.run(write_and_read())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(asyncio.run(store.read(lambda tx: tx.accounts.all()))) == 80
    asyncio.run(store.close())


async def test_a_loop_that_was_closed_meanwhile_does_not_end_the_writer(store: SqlStore) -> None:
    started, go_on = threading.Event(), threading.Event()

    def busy(tx: Tx) -> None:
        started.set()
        go_on.wait(PATIENCE)

    async def ask_and_leave() -> None:
        store._writer.submit(busy)
        await asyncio.to_thread(started.wait, PATIENCE)

    await asyncio.to_thread(asyncio.run, ask_and_leave())
    go_on.set()

    assert await store.write(lambda tx: "alive") == "alive"


# Two servers on one database. (SQLite has one server; its file lock makes the second one wait.)


async def take_the_last_card(store: SqlStore, account: Account) -> None:
    instance = an_instance(account.id, InstanceState.REQUESTED)

    def take(tx: Tx) -> None:
        if tx.allocations.in_use().get(CARD, 0) >= 1:
            raise NoCapacity("none left")
        tx.instances.add(instance, wake_at=None)
        tx.allocations.put(instance.id, {CARD: 1})

    await store.write(take)


async def test_of_many_servers_taking_the_last_gpu_exactly_one_wins(
    store: SqlStore, account: Account, open_another: Callable[[], SqlStore]
) -> None:
    others = [open_another() for _ in range(3)]

    outcomes = await asyncio.gather(
        *[take_the_last_card(each, account) for each in (store, *others) for _ in range(5)], return_exceptions=True
    )

    assert sum(outcome is None for outcome in outcomes) == 1
    assert all(outcome is None or isinstance(outcome, NoCapacity) for outcome in outcomes), outcomes
    assert await store.read(lambda tx: tx.allocations.in_use()) == {CARD: 1}


async def test_of_many_servers_taking_a_name_exactly_one_wins(
    store: SqlStore, account: Account, open_another: Callable[[], SqlStore]
) -> None:
    stores = [store, *(open_another() for _ in range(3))]

    outcomes = await asyncio.gather(
        *[stored(each, an_instance(account.id, name="fern")) for each in stores for _ in range(3)],
        return_exceptions=True,
    )

    assert sum(outcome is None for outcome in outcomes) == 1
    assert all(outcome is None or isinstance(outcome, NameTaken) for outcome in outcomes), outcomes


async def test_many_servers_adding_to_one_balance_lose_nothing(
    store: SqlStore, account: Account, open_another: Callable[[], SqlStore]
) -> None:
    stores = [store, *(open_another() for _ in range(3))]

    async def append(each: SqlStore, n: int) -> None:
        await each.write(lambda tx: tx.ledger.append(an_entry(account.id, 1, f"k{n}")))

    await asyncio.gather(*[append(stores[n % 4], n) for n in range(200)])

    assert await store.read(lambda tx: tx.ledger.balance(account.id)) == 200


async def test_of_many_servers_claiming_an_instance_exactly_one_gets_it(
    store: SqlStore, account: Account, open_another: Callable[[], SqlStore]
) -> None:
    instance = an_instance(account.id)
    await stored(store, instance, wake_at=NOW)
    stores = [store, *(open_another() for _ in range(3))]

    claims = await asyncio.gather(
        *[
            each.write(
                lambda tx, n=n: tx.instances.claim(
                    instance.id, f"server-{n}", now=NOW, until=NOW + timedelta(seconds=9)
                )
            )
            for n, each in enumerate(stores)
        ]
    )

    assert sum(claim is not None for claim in claims) == 1


async def test_a_follower_of_events_misses_none_of_many_servers(
    store: SqlStore, account: Account, open_another: Callable[[], SqlStore]
) -> None:
    stores = [open_another() for _ in range(4)]
    seen: list[str] = []

    async def write(each: SqlStore, n: int) -> None:
        def fn(tx: Tx) -> None:
            tx.events.add(Event(account.id, f"inst_{n}", "instance.running", NOW))
            tx.accounts.add(an_account(str(n)))  # so that the number was taken well before the commit, if it were

        await each.write(fn)

    async def follow() -> None:
        last = 0
        while len(seen) < 200:
            for event in await store.read(lambda tx, last=last: tx.events.after(account.id, last, limit=50)):
                assert event.seq > last
                last = event.seq
                seen.append(event.subject)

    async with asyncio.timeout(60):
        await asyncio.gather(follow(), *[write(stores[n % 4], n) for n in range(200)])

    assert sorted(seen) == sorted(f"inst_{n}" for n in range(200))


async def test_an_event_waits_for_those_with_smaller_numbers_to_be_seen(postgres_url: str) -> None:
    store = open_store(postgres_url)
    account = await settled(store)
    with psycopg.connect(postgres_url) as other_server, psycopg.connect(postgres_url, autocommit=True) as watching:
        # given: another server that has numbered its event and not yet committed it
        other_server.execute("SELECT pg_advisory_xact_lock(%s)", [_EVENTS_LOCK])
        other_server.execute(
            "INSERT INTO events (account_id, subject, kind, at, data) VALUES (%s, 'first', 'x', 0, '{}')", [account.id]
        )

        writing = asyncio.create_task(
            store.write(lambda tx: tx.events.add(Event(account.id, "second", "instance.running", NOW)))
        )
        async with asyncio.timeout(PATIENCE):
            while not watching.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall():
                assert not writing.done(), "it did not wait"
                await asyncio.sleep(0.01)
        other_server.commit()
        await writing

    events = await store.read(lambda tx: tx.events.after(account.id, 0, limit=9))
    await store.close()
    assert [event.subject for event in events] == ["first", "second"]
