"""Brings a database to the newest schema, or says why it cannot."""

from __future__ import annotations

from gpuyard.store.databases import CannotOpen, Database

HEAD = "0001"
"""The newest revision in `migrations/versions`; a test keeps it so."""


def migrate(database: Database) -> None:
    """Raises CannotOpen. Of a database that is up to date: one query, and Alembic is not even imported."""
    try:
        found = revision(database)
        if found == HEAD:
            return
        _upgrade(database, found)
    except CannotOpen:
        raise
    except Exception as error:
        raise database.cannot_open(error) from error


def revision(database: Database) -> str | None:
    """None for an empty database."""
    connection = database.connect(writable=True)
    try:
        if not connection.execute(database.has_revision).fetchall():
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])
    finally:
        connection.close()


def _upgrade(database: Database, found: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "gpuyard.store:migrations")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise CannotOpen(
            f"{database.url.render_as_string()} was written by a newer gpuyard (schema {found}, this one knows {HEAD}): "
            "upgrade gpuyard"
        )
    with database.migrating() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
