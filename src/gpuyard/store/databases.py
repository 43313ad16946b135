"""What differs between SQLite and PostgreSQL once the SQL is written."""

from __future__ import annotations

from contextlib import AbstractContextManager
from enum import Enum, auto
from typing import TYPE_CHECKING, ClassVar, Protocol

from sqlalchemy.engine import URL

from gpuyard.store.statements import Connection, Session

if TYPE_CHECKING:
    import sqlalchemy
    from sqlalchemy.engine import Dialect


class CannotOpen(Exception):
    """The store cannot be used at all: a start ends with this message, which names the thing and the remedy."""


class Trouble(Enum):
    """Errors of a driver that are nobody's fault in particular; each is dealt with differently."""

    FULL = auto()
    """The disk takes no more."""
    CONFLICT = auto()
    """Another writer was in the way: run it again."""
    LOST = auto()
    """The connection is gone: get another."""


class Database(Protocol):
    dialect: ClassVar[Dialect]
    begin_write: ClassVar[str]
    begin_read: ClassVar[str]
    readers: ClassVar[int]
    """How many transactions may read at a time."""

    @property
    def url(self) -> URL: ...

    has_revision: ClassVar[str]
    """A query with a row if Alembic ever was here."""

    def prepare(self) -> None:
        """Check that the place is fit for a database, before the first connection. Raises CannotOpen."""

    def connect(self, *, writable: bool) -> Connection: ...

    def migrating(self) -> AbstractContextManager[sqlalchemy.Connection]:
        """One transaction in which nobody else changes the schema: a killed migration leaves nothing half done."""

    def trouble(self, error: BaseException) -> Trouble | None: ...

    def before_events(self, session: Session) -> None:
        """Called before a transaction writes its events: from here to the commit nobody else may."""

    def cannot_open(self, error: Exception) -> CannotOpen:
        """Say what a failed first contact means and what to do."""
