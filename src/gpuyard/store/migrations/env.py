"""What Alembic runs: the connection comes from `store.schema`, there is no alembic.ini."""

from alembic import context

from gpuyard.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite changes few things about a table in place; later migrations copy and swap instead.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
