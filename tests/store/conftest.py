"""Both databases for every test of the store."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gpuyard.domain.accounts import Account
from gpuyard.store import SqlStore, open_store
from gpuyard.store.opening import database_at
from gpuyard.store.schema import migrate
from tests.postgres import PostgresServer, postgres_server, postgres_url
from tests.store.builders import settled

__all__ = ["postgres_server", "postgres_url"]

BOTH = ["sqlite", "postgresql"]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty, migrated database; copying it is faster than migrating for every test."""
    path = tmp_path_factory.mktemp("template") / "yard.db"
    migrate(database_at(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    name = postgres_server.new_database()
    migrate(database_at(postgres_server.url(name)))
    return name


@pytest.fixture(params=BOTH)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated, empty database of each kind."""
    if request.param == "sqlite":
        path = tmp_path / "yard.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.url(server.new_database(template=request.getfixturevalue("postgres_template")))


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    path = tmp_path / "yard.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
async def open_another(url: str) -> AsyncIterator[Callable[[], SqlStore]]:
    """Opens one more store on the database of `url`, as a second server would."""
    stores: list[SqlStore] = []

    def open_it() -> SqlStore:
        stores.append(open_store(url))
        return stores[-1]

    yield open_it
    for store in stores:
        await store.close()


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    store = open_store(url)
    yield store
    await store.close()


@pytest.fixture
async def account(store: SqlStore) -> Account:
    return await settled(store)
