from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from gpuyard.store import CannotOpen, open_store
from gpuyard.store.opening import database_at
from gpuyard.store.schema import HEAD, migrate, revision
from gpuyard.store.tables import metadata


def test_the_migrations_make_the_tables_that_are_described(url: str) -> None:
    engine = sqlalchemy.create_engine(database_at(url).url)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "target_metadata": metadata})
        differences = compare_metadata(context, metadata)

    engine.dispose()
    assert differences == []


def test_partial_indexes_have_the_conditions_that_are_described(url: str) -> None:
    """Alembic does not compare them."""
    described = {
        index.name: str(index.dialect_options["postgresql"]["where"])
        for table in metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["postgresql"]["where"] is not None
    }
    engine = sqlalchemy.create_engine(database_at(url).url)
    option = f"{engine.dialect.name}_where"

    inspector = sqlalchemy.inspect(engine)
    made = {
        index["name"]: str(index["dialect_options"][option]).strip("()")
        for table in inspector.get_table_names()
        for index in inspector.get_indexes(table)
        if option in index.get("dialect_options", {})
    }

    engine.dispose()
    assert made == described


def test_the_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "gpuyard.store:migrations")

    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_migrating_twice_changes_nothing(url: str) -> None:
    migrate(database_at(url))

    assert revision(database_at(url)) == HEAD


@pytest.fixture
def killed_migration(tmp_path: Path) -> Iterator[str]:
    """A database whose first migration was interrupted half way."""
    url = f"sqlite:///{tmp_path / 'yard.db'}"
    with pytest.raises(KeyboardInterrupt), database_at(url).migrating() as connection:
        connection.exec_driver_sql("CREATE TABLE accounts (id TEXT)")
        raise KeyboardInterrupt
    yield url


def test_an_interrupted_migration_leaves_nothing_half_done(killed_migration: str) -> None:
    migrate(database_at(killed_migration))

    assert revision(database_at(killed_migration)) == HEAD


def test_a_database_of_a_newer_gpuyard_is_not_touched(url: str) -> None:
    engine = sqlalchemy.create_engine(database_at(url).url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()

    with pytest.raises(CannotOpen, match=r"newer gpuyard \(schema 9999"):
        open_store(url)


def test_a_file_that_is_no_database_is_named_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "yard.db"
    path.write_bytes(b"this is a shopping list\n" * 100)

    with pytest.raises(CannotOpen, match=f"{path}.*move it away"):
        open_store(f"sqlite:///{path}")

    assert path.read_bytes() == b"this is a shopping list\n" * 100


def test_a_damaged_database_is_named_with_a_remedy(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    content = bytearray(path.read_bytes())
    content[100:4096] = os.urandom(3996)  # the schema's own page
    path.write_bytes(content)

    with pytest.raises(CannotOpen, match=f"{path}.*move it away"):
        open_store(sqlite_url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "is a file"),
        ("sqlite:///:memory:", "is a file"),
        ("sqlite:////nowhere/at/all/yard.db", "there is no directory /nowhere/at/all"),
        ("sqlite:////", "is a directory"),
        ("mysql://host/yard", "no database is called 'mysql'"),
        ("nonsense", "no database URL"),
        ("postgresql://nobody:secret@/yard?host=/nowhere", "check that it runs"),
    ],
)
def test_an_unusable_place_is_named(url: str, said: str) -> None:
    with pytest.raises(CannotOpen, match=said) as refused:
        open_store(url)

    assert "secret" not in str(refused.value)


def test_a_directory_that_takes_no_files_is_named(sqlite_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="gy", dir="/tmp") as directory:
        path = Path(directory, "yard.db")
        shutil.copy(sqlite_url.removeprefix("sqlite:///"), path)
        path.chmod(0o444)
        path.parent.chmod(0o555)

        with somebody_else(), pytest.raises(CannotOpen, match="cannot write to"):
            open_store(f"sqlite:///{path}")


@contextmanager
def somebody_else() -> Iterator[None]:
    """Root may write everywhere, so root becomes nobody for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
