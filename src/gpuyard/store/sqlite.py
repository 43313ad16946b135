"""SQLite: one file, one writer, readers that never wait."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import sqlalchemy
from sqlalchemy.dialects import sqlite as dialects
from sqlalchemy.engine import URL, Dialect

from gpuyard.store.databases import CannotOpen, Trouble
from gpuyard.store.statements import DriverCursor, Params, Session

_OLDEST = (3, 35, 0)
"""The first with RETURNING."""

_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
_CONFLICT = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-8000",
    # A checkpoint syncs twice; every 8 MB instead of every 4 halves what it costs a busy writer.
    "PRAGMA wal_autocheckpoint=2000",
    "PRAGMA journal_size_limit=67108864",
)


class SqliteConnection:
    """sqlite3 behind `statements.Connection`."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        # Closed by another thread than the one that used it, hence no thread check; never used by two at a time.
        self._driver = sqlite3.connect(
            path, isolation_level=None, timeout=5, cached_statements=512, check_same_thread=False
        )
        try:
            for pragma in _PRAGMAS:
                self._driver.execute(pragma)
            if not writable:
                self._driver.execute("PRAGMA query_only=ON")
        except BaseException:
            self._driver.close()
            raise

    def execute(self, sql: str, params: Params = {}, /) -> DriverCursor:  # noqa: B006 (never changed)
        return self._driver.execute(sql, params)

    def execute_many(self, sql: str, many: Sequence[Params], /) -> None:
        self._driver.executemany(sql, many)

    def close(self) -> None:
        self._driver.close()


@dataclass(frozen=True)
class Sqlite:
    path: Path

    # Named parameters take our mappings as they are.
    dialect: ClassVar[Dialect] = dialects.dialect(paramstyle="named")
    begin_write: ClassVar[str] = "BEGIN IMMEDIATE"
    begin_read: ClassVar[str] = "BEGIN DEFERRED"
    readers: ClassVar[int] = 4
    has_revision: ClassVar[str] = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"

    @classmethod
    def at(cls, url: URL) -> Sqlite:
        if not url.database or url.database == ":memory:":
            raise CannotOpen("a yard's SQLite database is a file: write sqlite:///path")
        return cls(Path(url.database).absolute())

    @property
    def url(self) -> URL:
        return URL.create("sqlite", database=str(self.path))

    def prepare(self) -> None:
        if sqlite3.sqlite_version_info < _OLDEST:
            raise CannotOpen(f"SQLite {sqlite3.sqlite_version} is too old: use a Python built with 3.35 or newer")
        folder = self.path.parent
        if not folder.is_dir():
            raise CannotOpen(f"there is no directory {folder} for the database: make it, or name another")
        if self.path.is_dir():
            raise CannotOpen(f"{self.path} is a directory, not a database: name a file")
        # SQLite keeps two more files beside the database, so the directory must take files too.
        if not os.access(folder, os.W_OK) or (self.path.exists() and not os.access(self.path, os.W_OK)):
            raise CannotOpen(f"cannot write to {self.path}: let this user write there, or name another data directory")

    def connect(self, *, writable: bool) -> SqliteConnection:
        return SqliteConnection(self.path, writable=writable)

    @contextmanager
    def migrating(self) -> Iterator[sqlalchemy.Connection]:
        engine = sqlalchemy.create_engine(self.url, poolclass=sqlalchemy.NullPool)
        # Left alone, sqlite3 commits every change of the schema by itself.
        sqlalchemy.event.listen(engine, "connect", lambda driver, _: setattr(driver, "isolation_level", None))
        sqlalchemy.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(self.begin_write))
        with engine.begin() as connection:
            yield connection

    def trouble(self, error: BaseException) -> Trouble | None:
        # Extended codes (SQLITE_IOERR_WRITE, …) carry the plain one in their low byte.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _FULL:
            return Trouble.FULL
        return Trouble.CONFLICT if code in _CONFLICT else None

    def before_events(self, session: Session) -> None:
        """There is one writer; nothing to do."""

    def cannot_open(self, error: Exception) -> CannotOpen:
        if self.trouble(error) is Trouble.FULL:
            return CannotOpen(
                f"cannot write to {self.path} ({error}): free some space there, or name another data directory"
            )
        if self.trouble(error) is Trouble.CONFLICT:
            return CannotOpen(f"{self.path} is in use by another program ({error}): end that one first")
        return CannotOpen(
            f"{self.path} is not a database of a yard, or is damaged ({error}): move it away and put back a copy of it, "
            "or begin anew without it"
        )
