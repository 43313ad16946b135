"""Which database a URL means."""

from __future__ import annotations

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from gpuyard.store.databases import CannotOpen, Database


def database_at(text: str) -> Database:
    """The database behind `sqlite:///path` or `postgresql://…`. Raises CannotOpen."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise CannotOpen(f"{text!r} is no database URL: write sqlite:///path or postgresql://user@host/name") from None
    match url.get_backend_name():
        case "sqlite":
            from gpuyard.store.sqlite import Sqlite

            return Sqlite.at(url)
        case "postgresql":
            from gpuyard.store.postgresql import Postgresql

            return Postgresql.at(url)
    raise CannotOpen(f"no database is called {url.drivername!r}: write sqlite:///path or postgresql://user@host/name")
