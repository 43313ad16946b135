from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from gpuyard.domain.errors import StorageFull
from gpuyard.store import open_store
from tests.store.builders import settled

_WRITE_FOR_EVER = """
import asyncio, sys
from datetime import UTC, datetime
from gpuyard.domain.accounts import Account
from gpuyard.domain.ids import new_account_id
from gpuyard.store import open_store

async def write(store):
    while True:
        account = Account(new_account_id(), "x", datetime.now(UTC))
        await store.write(lambda tx: tx.accounts.add(account))
        print(account.id, flush=True)

async def main():
    store = open_store(sys.argv[1])
    await asyncio.gather(*[write(store) for _ in range(16)])

asyncio.run(main())
"""


def test_nothing_acknowledged_is_gone_after_kill_9(url: str) -> None:
    acknowledged: list[str] = []
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITE_FOR_EVER, url], stdout=subprocess.PIPE, env=_environment(), text=True
        ) as writer:
            assert writer.stdout is not None
            acknowledged += [writer.stdout.readline().strip() for _ in range(300)]
            os.kill(writer.pid, signal.SIGKILL)
            acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]

    async def look() -> set[str]:
        store = open_store(url)
        there = {account.id for account in await store.read(lambda tx: tx.accounts.all())}
        await store.close()
        return there

    assert len(acknowledged) >= 900
    assert set(acknowledged) <= asyncio.run(look())


_FILL_UP = """
import asyncio, resource, sys
from datetime import UTC, datetime
from pathlib import Path
from gpuyard.domain.accounts import Account
from gpuyard.domain.errors import StorageFull
from gpuyard.domain.ids import new_account_id
from gpuyard.store import open_store

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

async def add(store, size):
    account = Account(new_account_id(), "x" * size, datetime.now(UTC))
    try:
        await store.write(lambda tx: tx.accounts.add(account))
    except StorageFull as error:
        assert error.hint
        return None
    return account.id

async def main():
    store = open_store(f"sqlite:///{sys.argv[1]}")
    kept = [await add(store, 10)]
    limit(Path(sys.argv[1] + "-wal").stat().st_size + 100_000)
    outcomes = await asyncio.gather(*[add(store, 20_000) for _ in range(50)])
    outcomes += [await add(store, 20_000) for _ in range(50)]
    assert None in outcomes, "the disk was never full"
    there = await store.read(lambda tx: {account.id for account in tx.accounts.all()})
    assert there == {one for one in kept + outcomes if one}, "reading goes on, and only what was acknowledged is there"
    limit(resource.RLIM_INFINITY)
    assert await add(store, 20_000), "it goes on by itself"
    await store.close()

asyncio.run(main())
"""


def test_a_full_disk_fails_each_write_and_is_survived(sqlite_url: str) -> None:
    path = sqlite_url.removeprefix("sqlite:///")

    done = subprocess.run(
        [sys.executable, "-c", _FILL_UP, path], env=_environment(), capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


async def test_a_postgresql_that_may_not_write_is_a_full_storage(postgres_url: str) -> None:
    store = open_store(postgres_url)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await _cut_connections(postgres_url)

    with pytest.raises(StorageFull):
        await settled(store)

    await store.close()


async def test_connections_that_were_cut_are_made_anew(postgres_url: str) -> None:
    store = open_store(postgres_url)
    account = await settled(store)
    assert await store.read(lambda tx: tx.accounts.get(account.id)) == account

    await _cut_connections(postgres_url)

    assert await store.read(lambda tx: tx.accounts.get(account.id)) == account
    await asyncio.gather(*[settled(store) for _ in range(10)])
    assert len(await store.read(lambda tx: tx.accounts.all())) == 11
    await store.close()


async def _cut_connections(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def _environment() -> dict[str, str]:
    import gpuyard

    return {**os.environ, "PYTHONPATH": str(Path(gpuyard.__file__).parents[1])}
