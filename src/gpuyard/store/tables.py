"""The tables, as SQLAlchemy Core describes them for both databases.

Instants are microseconds since 1970 in UTC, durations microseconds, money millionths, flags 0 or 1: plain integers
and text, which both drivers hand over without conversion. `migrations/` makes these tables; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, Table, Text, UniqueConstraint, text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column declared exactly INTEGER PRIMARY KEY.
Sequence = BigInteger().with_variant(Integer(), "sqlite")

IS_LIVE = text("live = 1")
IS_GONE = text("live = 0")

accounts = Table(
    "accounts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("operates_yard", Integer, nullable=False),
    Column("credit_micro", BigInteger),
)

members = Table(
    "members",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

# A key outlives its member: what it did must stay explicable. So member_id refers to no row.
keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("member_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("instance_id", Text),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),
)

# `live` is 1 until the instance is deleted. Most rows of an old yard are deleted ones, so every list that
# leaves them out has `live` in its index. `due_at` is the later of wake_at and claim_until: when somebody may work on it.
instances = Table(
    "instances",
    metadata,
    Column("id", Text, primary_key=True),
    Column("short_id", Text, nullable=False, unique=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("entered_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("spec", Text, nullable=False),
    Column("state_reason", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("limits", Text, nullable=False),
    Column("placement", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("provider", Text),
    Column("region", Text),
    Column("simulated", Integer, nullable=False),
    Column("price_per_hour_micro", BigInteger),
    Column("running_at", BigInteger),
    Column("has_disk", Integer, nullable=False),
    Column("may_wait", Integer, nullable=False),
    Column("live", Integer, nullable=False),
    Column("wake_at", BigInteger),
    Column("due_at", BigInteger),
    Column("claim_holder", Text),
    Column("claim_token", BigInteger, nullable=False),
    Column("claim_until", BigInteger),
)
_i = instances.c
Index("uq_instances_live_name", _i.account_id, _i.name, unique=True, sqlite_where=IS_LIVE, postgresql_where=IS_LIVE)
Index("ix_instances_gone_name", _i.account_id, _i.name, _i.created_at, sqlite_where=IS_GONE, postgresql_where=IS_GONE)
Index("ix_instances_list", _i.account_id, _i.live, _i.created_at, _i.id)
Index("ix_instances_list_by_state", _i.account_id, _i.state, _i.created_at, _i.id)
Index("ix_instances_list_by_provider", _i.account_id, _i.provider, _i.live, _i.created_at, _i.id)
Index("ix_instances_state", _i.state, _i.created_at, _i.id)
Index(
    "ix_instances_due_at",
    _i.due_at,
    sqlite_where=text("due_at IS NOT NULL"),
    postgresql_where=text("due_at IS NOT NULL"),
)
Index(
    "ix_instances_claim_holder",
    _i.claim_holder,
    sqlite_where=text("claim_holder IS NOT NULL"),
    postgresql_where=text("claim_holder IS NOT NULL"),
)

# The side tables repeat account, liveness and age so that one index both finds and orders a filtered page.
instance_labels = Table(
    "instance_labels",
    metadata,
    Column("instance_id", Text, ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("live", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_instance_labels_list", "account_id", "key", "value", "live", "created_at", "instance_id"),
)

instance_gpus = Table(
    "instance_gpus",
    metadata,
    Column("instance_id", Text, ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True),
    Column("gpu_type", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("live", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_instance_gpus_list", "account_id", "gpu_type", "live", "created_at", "instance_id"),
)

allocations = Table(
    "allocations",
    metadata,
    Column("instance_id", Text, ForeignKey("instances.id"), primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("region", Text, primary_key=True),
    Column("gpu_type", Text, primary_key=True),
    Column("count", Integer, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("instance_id", Text, ForeignKey("instances.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("times", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

IS_UNFINISHED = text("ended = 0")

executions = Table(
    "executions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("instance_id", Text, ForeignKey("instances.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("ended", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("code", Text, nullable=False),
    Column("argv", Text, nullable=False),
    Column("kernel", Text, nullable=False),
    Column("detached", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("env", Text, nullable=False),
    Column("timeout", BigInteger),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("exit_code", BigInteger),
    Column("reason", Text, nullable=False),
    Column("result", Text),
    Column("output_bytes", BigInteger, nullable=False),
    Index("ix_executions_list", "instance_id", "created_at", "id"),
    Index(
        "ix_executions_unfinished",
        "instance_id",
        "created_at",
        sqlite_where=IS_UNFINISHED,
        postgresql_where=IS_UNFINISHED,
    ),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount_micro", BigInteger, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("instance_id", Text),
    Column("reason", Text, nullable=False),
    UniqueConstraint("account_id", "idempotency_key"),
    Index("ix_ledger_entries_list", "account_id", "seq"),
    sqlite_autoincrement=True,
)

# The sum of an account's entries, kept in the transaction that appends one: a balance never scans the ledger.
balances = Table(
    "balances",
    metadata,
    Column("account_id", Text, ForeignKey("accounts.id"), primary_key=True),
    Column("amount_micro", BigInteger, nullable=False),
)

IS_OPEN = text("ended_at IS NULL")

usage_intervals = Table(
    "usage_intervals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("instance_id", Text, ForeignKey("instances.id"), nullable=False),
    Column("price_per_hour_micro", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("charged_micro", BigInteger, nullable=False),
    Column("seen_at", BigInteger),
    Index("ix_usage_intervals_instance_id", "instance_id", "started_at"),
    Index("ix_usage_intervals_ended", "account_id", "ended_at", "started_at"),
    # Two open intervals would charge one instance twice: the database refuses the second.
    Index("uq_usage_intervals_open", "instance_id", unique=True, sqlite_where=IS_OPEN, postgresql_where=IS_OPEN),
)

holds = Table(
    "holds",
    metadata,
    Column("instance_id", Text, ForeignKey("instances.id"), primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("amount_micro", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("account_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("data", Text, nullable=False),
    Index("ix_events_list", "account_id", "seq"),
    Index("ix_events_subject", "account_id", "subject", "seq"),
    sqlite_autoincrement=True,
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("made", Text, nullable=False),
    Column("at", BigInteger, nullable=False, index=True),
)
