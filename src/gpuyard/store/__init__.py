"""SQL behind `ports.store`, on SQLite or PostgreSQL, and the journals of executions on disk."""

from __future__ import annotations

from gpuyard.store.databases import CannotOpen
from gpuyard.store.journals import DiskJournals
from gpuyard.store.opening import database_at
from gpuyard.store.schema import migrate
from gpuyard.store.store import SqlStore

__all__ = ["CannotOpen", "DiskJournals", "SqlStore", "open_store"]


def open_store(url: str) -> SqlStore:
    """Open `sqlite:///path` or `postgresql://user@host/name`, brought to the newest schema. Blocks.

    Raises CannotOpen, whose message names the thing and the remedy.
    """
    database = database_at(url)
    database.prepare()
    migrate(database)
    return SqlStore(database)
