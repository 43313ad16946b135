"""SQL written once with SQLAlchemy and run on the driver directly.

SQLAlchemy is what lets one statement be right on two databases. Running it through a SQLAlchemy connection costs several
times what SQLite needs for the work itself, on every call; so each statement is compiled once per database and
the driver gets the text and the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Insert, Table, bindparam, insert
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ClauseElement

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

Params = Mapping[str, Any]
Row = Sequence[Any]

_OVER = "this tx is over: its function has returned, so take what you need inside it"
_READS = "this writes inside store.read: use store.write"


class DriverCursor(Protocol):
    """The part of a DB-API cursor we use; sqlite3 and psycopg both have it."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...


class Connection(Protocol):
    """One connection to a database, in the hands of one thread at a time. Transactions are begun by hand."""

    def execute(self, sql: str, params: Params = ..., /) -> DriverCursor: ...
    def execute_many(self, sql: str, many: Sequence[Params], /) -> None: ...
    def close(self) -> None: ...


class Statement:
    """One statement for both databases. Parameters are named by `bindparam`."""

    __slots__ = ("_clause", "_compiled", "writes")

    def __init__(self, clause: ClauseElement) -> None:
        self._clause = clause
        self._compiled: dict[str, tuple[str, dict[str, Any]]] = {}
        self.writes = isinstance(clause, UpdateBase)

    def compiled(self, dialect: Dialect) -> tuple[str, dict[str, Any]]:
        """The text, and the values that were written into the statement itself."""
        found = self._compiled.get(dialect.name)
        if found is None:
            compiled = self._clause.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
            constants = {name: value for name, value in compiled.params.items() if value is not None}
            found = self._compiled[dialect.name] = (str(compiled), constants)
        return found


def insert_row(table: Table, *, leave_out: str = "") -> Insert:
    """An INSERT with one parameter per column, named like it."""
    return insert(table).values({c.name: bindparam(c.name, type_=c.type) for c in table.c if c.name != leave_out})


class Session:
    """What the nouns' modules speak through during one transaction function; of no use after it returned."""

    __slots__ = ("_connection", "dialect", "events", "trouble", "writable")

    def __init__(self, connection: Connection, dialect: Dialect, *, writable: bool) -> None:
        self._connection: Connection | None = connection
        self.dialect = dialect
        self.writable = writable
        self.events: list[Params] = []
        """Events wait here until just before the commit; see `events.py`."""
        self.trouble: Exception | None = None
        """The last error of the driver, kept even if the function swallowed it."""

    def finish(self) -> None:
        self._connection = None

    def defer_event(self, event: Params) -> None:
        if self._connection is None or not self.writable:
            raise RuntimeError(_OVER if self._connection is None else _READS)
        self.events.append(event)

    def rows(self, statement: Statement, params: Params | None = None) -> list[Row]:
        rows: list[Row] = self._run(statement, params).fetchall()
        return rows

    def row(self, statement: Statement, params: Params | None = None) -> Row | None:
        row: Row | None = self._run(statement, params).fetchone()
        return row

    def change(self, statement: Statement, params: Params | None = None) -> int:
        """How many rows it touched."""
        return self._run(statement, params).rowcount

    def change_many(self, statement: Statement, many: Sequence[Params]) -> None:
        if not many:
            return
        connection = self._usable(statement)
        sql, constants = statement.compiled(self.dialect)
        try:
            connection.execute_many(sql, [{**constants, **params} for params in many] if constants else many)
        except Exception as error:
            self.trouble = error
            raise

    def _run(self, statement: Statement, params: Params | None) -> DriverCursor:
        connection = self._usable(statement)
        sql, constants = statement.compiled(self.dialect)
        if constants:
            params = {**constants, **params} if params else constants
        try:
            return connection.execute(sql, params or {})
        except Exception as error:
            self.trouble = error
            raise

    def _usable(self, statement: Statement) -> Connection:
        if self._connection is None:
            raise RuntimeError(_OVER)
        if statement.writes and not self.writable:
            raise RuntimeError(_READS)
        return self._connection
