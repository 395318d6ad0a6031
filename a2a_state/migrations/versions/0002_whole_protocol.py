"""What the whole protocol needs: recovery, cancellation, idempotency, webhooks, lists and retention."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _tasks()
    _message_keys()
    _lists_and_retention()
    _push_configs()


def _tasks() -> None:
    op.add_column("tasks", sa.Column("request", sa.LargeBinary()))
    op.add_column(
        "tasks", sa.Column("recoveries", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column("tasks", sa.Column("cancel_at", sa.BigInteger()))
    to_cancel = sa.text("cancel_at IS NOT NULL AND ended_at IS NULL")
    op.create_index(
        "ix_tasks_cancel",
        "tasks",
        ["lease_holder"],
        sqlite_where=to_cancel,
        postgresql_where=to_cancel,
    )


def _message_keys() -> None:
    op.create_table(
        "message_keys",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("claim", sa.String(), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("owner", "tenant", "key", name="pk_message_keys"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_message_keys_created", "message_keys", ["created_at"])


def _lists_and_retention() -> None:
    op.drop_index("ix_tasks_updated", "tasks")
    op.create_index("ix_tasks_updated", "tasks", ["owner", "tenant", "updated_at", "state"])
    ended = sa.text("ended_at IS NOT NULL")
    op.create_index(
        "ix_tasks_ended",
        "tasks",
        ["owner", "tenant", "context_id", "updated_at"],
        sqlite_where=ended,
        postgresql_where=ended,
    )
    op.add_column("contexts", sa.Column("used_at", sa.BigInteger()))


def _push_configs() -> None:
    op.create_table(
        "push_configs",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("config_id", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("token", sa.String()),
        sa.Column("authentication", sa.LargeBinary()),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("delivered_seq", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("next_attempt_at", sa.BigInteger(), nullable=False),
        sa.Column("last_error", sa.String()),
        sa.Column("lease_holder", sa.String(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "tenant", "task_id", "config_id", name="pk_push_configs"),
        sqlite_with_rowid=False,
    )
    active = sa.text("state = 'active'")
    op.create_index(
        "ix_push_configs_due",
        "push_configs",
        ["next_attempt_at"],
        sqlite_where=active,
        postgresql_where=active,
    )
