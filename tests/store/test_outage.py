"""A database that goes away: a clear error, and no harm once it is back."""

from __future__ import annotations

import asyncio

import pytest

from gpuyard.domain.accounts import Account
from gpuyard.domain.errors import StoreUnavailable
from gpuyard.domain.ids import new_account_id
from gpuyard.store import open_store
from tests.postgres import PostgresServer, running_postgres
from tests.store.builders import NOW


@pytest.fixture
def needs_postgres(postgres_server: PostgresServer) -> None:
    """Skips where PostgreSQL is not installed."""


@pytest.mark.usefixtures("needs_postgres")
async def test_a_postgresql_that_went_away_is_said_to_be_unavailable() -> None:
    with running_postgres() as server:
        store = await asyncio.to_thread(open_store, server.url(server.new_database()))
        await store.read(lambda tx: tx.accounts.all())

    account = Account(new_account_id(), "late", NOW)
    with pytest.raises(StoreUnavailable):
        await store.write(lambda tx: tx.accounts.add(account))
    with pytest.raises(StoreUnavailable) as said:
        await store.read(lambda tx: tx.accounts.all())
    await store.close()

    assert said.value.retry_after
