"""PostgreSQL: several servers may share one yard; whoever loses a race runs its function again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import sqlalchemy
from sqlalchemy.dialects.postgresql import psycopg as dialects
from sqlalchemy.engine import URL, Dialect

from gpuyard.store.databases import CannotOpen, Trouble
from gpuyard.store.statements import DriverCursor, Params, Session, Statement

try:
    import psycopg
except ImportError:  # the extra `postgres` is not installed; `at` says so
    psycopg = None  # type: ignore[assignment]

_OLDEST = 120000

# Classes and codes of https://www.postgresql.org/docs/15/errcodes-appendix.html
_CONFLICT = {"40001", "40P01", "55P03"}
_FULL = {"53100", "25006", "58030"}
_LOST = {"57P01", "57P02", "57P03"}

_SCHEMA_LOCK, _EVENTS_LOCK = 0x67707501, 0x67707502
"""Any two numbers that nobody else takes in this database."""

_LOCK_EVENTS = Statement(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(sqlalchemy.literal(_EVENTS_LOCK))))


class PostgresqlConnection:
    """psycopg behind `statements.Connection`."""

    def __init__(self, conninfo: str) -> None:
        # Autocommit, since transactions are begun by hand. psycopg prepares what is run often by itself.
        self._driver = psycopg.connect(conninfo, autocommit=True, connect_timeout=5)

    def execute(self, sql: str, params: Params | None = None, /) -> DriverCursor:
        return self._driver.execute(cast(Any, sql), params)

    def execute_many(self, sql: str, many: Sequence[Params], /) -> None:
        with self._driver.cursor() as cursor:
            cursor.executemany(cast(Any, sql), many)

    def close(self) -> None:
        self._driver.close()


@dataclass(frozen=True)
class Postgresql:
    conninfo: str
    url: URL

    dialect: ClassVar[Dialect] = dialects.dialect()  # type: ignore[no-untyped-call]
    begin_write: ClassVar[str] = "BEGIN ISOLATION LEVEL SERIALIZABLE"
    begin_read: ClassVar[str] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    readers: ClassVar[int] = 8
    """More than for SQLite: here a reader waits for the server, not for our processor."""
    has_revision: ClassVar[str] = "SELECT 1 WHERE to_regclass('alembic_version') IS NOT NULL"

    @classmethod
    def at(cls, url: URL) -> Postgresql:
        if psycopg is None:
            raise CannotOpen("PostgreSQL needs one more package: pip install 'gpuyard[postgres]'")
        # libpq reads the URL itself, so everything it knows may stand in it (sslmode, several hosts, a socket directory).
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        return cls(plain, url.set(drivername="postgresql+psycopg"))

    def prepare(self) -> None:
        try:
            connection = self.connect(writable=False)
        except Exception as error:
            raise self.cannot_open(error) from error
        try:
            row = connection.execute("SHOW server_version_num").fetchone()
        finally:
            connection.close()
        if int(row[0]) < _OLDEST:
            raise CannotOpen(f"the PostgreSQL at {self._shown} is too old: 12 or newer is needed")

    def connect(self, *, writable: bool) -> PostgresqlConnection:
        return PostgresqlConnection(self.conninfo)

    @contextmanager
    def migrating(self) -> Iterator[sqlalchemy.Connection]:
        engine = sqlalchemy.create_engine(self.url, poolclass=sqlalchemy.NullPool)
        with engine.begin() as connection:
            connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
            yield connection

    def trouble(self, error: BaseException) -> Trouble | None:
        if not isinstance(error, psycopg.Error):
            return None
        code = error.sqlstate
        if code in _FULL:
            return Trouble.FULL
        if code in _CONFLICT:
            return Trouble.CONFLICT
        # Without a code it was the connection itself that failed.
        lost = code in _LOST if code else isinstance(error, psycopg.OperationalError)
        return Trouble.LOST if lost else None

    def before_events(self, session: Session) -> None:
        session.row(_LOCK_EVENTS)

    def cannot_open(self, error: Exception) -> CannotOpen:
        if self.trouble(error) is Trouble.FULL:
            return CannotOpen(f"the PostgreSQL at {self._shown} cannot write ({error}): free some space on its disk")
        text = " ".join(str(error).split())
        return CannotOpen(
            f"cannot use the PostgreSQL at {self._shown} ({text}): check that it runs and the URL is right"
        )

    @property
    def _shown(self) -> str:
        return self.url.set(drivername="postgresql").render_as_string()
