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
    # When the latest of its tasks that are deleted ended; None as long as none is.
    Column("used_at", BigInteger),
    # What the conversation holds, where quotas are kept.
    Column("tokens", BigInteger, nullable=False, server_default="0"),
    # How REST calls a context whose id is no conversation id there; None as long as nobody has asked.
    Column("public_id", String),
    # What people call the conversation; None as long as nobody has named it.
    Column("topic_summary", String),
    # Whose session it is, of the agents that callers have made; None for the agent of the settings.
    Column("agent_id", String),
    Column("session_name", String),
    # Small rows that are found by their key only.
    sqlite_with_rowid=False,
)

# For those who may see the conversations of others, and know an id only.
Index("ix_contexts_context_id", contexts.c.tenant, contexts.c.context_id)
# Few have one.
_IS_FOREIGN = contexts.c.public_id.is_not(None)
Index(
    "ix_contexts_public_id",
    contexts.c.tenant,
    contexts.c.public_id,
    contexts.c.owner,
    sqlite_where=_IS_FOREIGN,
    postgresql_where=_IS_FOREIGN,
)

# Most contexts are of the agent of the settings.
_IS_SESSION = contexts.c.agent_id.is_not(None)
Index(
    "ix_contexts_agent_id",
    contexts.c.owner,
    contexts.c.tenant,
    contexts.c.agent_id,
    contexts.c.created_at,
    sqlite_where=_IS_SESSION,
    postgresql_where=_IS_SESSION,
)

_IS_OURS = contexts.c.agent_id.is_(None)
Index(
    "ix_contexts_created",
    contexts.c.owner,
    contexts.c.tenant,
    contexts.c.created_at,
    sqlite_where=_IS_OURS,
    postgresql_where=_IS_OURS,
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
    # What the latest message asked for beside its content, as JSON: all that running it again needs.
    Column("request", LargeBinary),
    # How often the turn was taken over from a process that died.
    Column("recoveries", BigInteger, nullable=False, server_default="0"),
    # Set by a process that does not run the task, for the one that does.
    Column("cancel_at", BigInteger),
    # Which model answered last, as provider/model.
    Column("model", String),
    # How many messages of users it has; None for one: older versions did not count.
    Column("messages", BigInteger),
    # The state is there for counting, which then need not look at the rows.
    Index("ix_tasks_updated", "owner", "tenant", "updated_at", "state"),
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
# Written once, with the end of a task.
_ENDED = tasks.c.ended_at.is_not(None)
Index(
    "ix_tasks_ended",
    tasks.c.owner,
    tasks.c.tenant,
    tasks.c.context_id,
    tasks.c.updated_at,
    # What a list of conversations shows, which so looks at no row.
    tasks.c.messages,
    tasks.c.model,
    tasks.c.ended_at,
    sqlite_where=_ENDED,
    postgresql_where=_ENDED,
)

task_events = Table(
    "task_events",
    metadata,
    Column("task_id", String, ForeignKey("tasks.task_id", ondelete="CASCADE"), primary_key=True),
    # A row holds the events first_seq .. last_seq as one JSON array of A2A 1.0 stream responses.
    Column("first_seq", BigInteger, primary_key=True),
    Column("last_seq", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

_TO_CANCEL = tasks.c.cancel_at.is_not(None) & _ALIVE
Index("ix_tasks_cancel", tasks.c.lease_holder, sqlite_where=_TO_CANCEL, postgresql_where=_TO_CANCEL)

message_keys = Table(
    "message_keys",
    metadata,
    Column("owner", String, primary_key=True),
    Column("tenant", String, primary_key=True),
    # An Idempotency-Key or a messageId, with a prefix that says which.
    Column("key", String, primary_key=True),
    # Who added it: of several who try at once, one finds its own here.
    Column("claim", String, nullable=False),
    Column("task_id", String, nullable=False),
    # Of the parameters: another message under the same key is an error.
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # The message that was answered instead of a task, as A2A 1.0 JSON.
    Column("answer", LargeBinary),
    Index("ix_message_keys_created", "created_at"),
    sqlite_with_rowid=False,
)
