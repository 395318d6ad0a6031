"""The tables. Times are milliseconds since the epoch, UTC.

Owner and tenant stand on every row, and every query names them.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

contexts = Table(
    "contexts",
    metadata,
    Column("owner", String, primary_key=True),
    Column("tenant", String, primary_key=True),
    Column("context_id", String, primary_key=True),
    # What the context maps to on the stack. A conversation is bound to the stack that started it.
    Column("stack", String, nullable=False),
    Column("conversation_id", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # Small rows that are found by their key only.
    sqlite_with_rowid=False,
)

tasks = Table(
    "tasks",
    metadata,
    Column("task_id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("tenant", String, nullable=False),
    Column("context_id", String, nullable=False),
    Column("state", String, nullable=False),
    # The stack's id of the latest turn, once known.
    Column("turn_id", String),
    # The task as A2A 1.0 JSON, up to and including event `seq`; later events are in task_events.
    Column("body", LargeBinary, nullable=False),
    Column("seq", BigInteger, nullable=False),
    # One writer: raised by whoever takes the task over; a write with a lower number is refused.
    Column("fence", BigInteger, nullable=False),
    Column("lease_holder", String, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    # Set with the terminal state, once; no write passes it.
    Column("ended_at", BigInteger),
    Index("ix_tasks_updated", "owner", "tenant", "updated_at"),
)

# What has not ended is little and asked for often; what has ended costs these nothing.
_ALIVE = tasks.c.ended_at.is_(None)
Index(
    "ix_tasks_context",
    tasks.c.owner,
    tasks.c.tenant,
    tasks.c.context_id,
    sqlite_where=_ALIVE,
    postgresql_where=_ALIVE,
)
Index("ix_tasks_lease", tasks.c.lease_until, sqlite_where=_ALIVE, postgresql_where=_ALIVE)

task_events = Table(
    "task_events",
    metadata,
    Column("task_id", String, ForeignKey("tasks.task_id", ondelete="CASCADE"), primary_key=True),
    # A row holds the events first_seq .. last_seq as one JSON array of A2A 1.0 stream responses.
    Column("first_seq", BigInteger, primary_key=True),
    Column("last_seq", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
