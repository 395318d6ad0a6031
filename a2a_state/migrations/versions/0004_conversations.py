"""What lists of conversations show, and a cache of what was said in them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("contexts", sa.Column("public_id", sa.String()))
    op.add_column("contexts", sa.Column("topic_summary", sa.String()))
    op.add_column("tasks", sa.Column("model", sa.String()))
    op.add_column("tasks", sa.Column("messages", sa.BigInteger()))
    _indexes()
    _cache()


def _indexes() -> None:
    op.create_index("ix_contexts_context_id", "contexts", ["tenant", "context_id"])
    is_foreign = sa.text("public_id IS NOT NULL")
    op.create_index(
        "ix_contexts_public_id",
        "contexts",
        ["tenant", "public_id", "owner"],
        sqlite_where=is_foreign,
        postgresql_where=is_foreign,
    )
    ended = sa.text("ended_at IS NOT NULL")
    op.drop_index("ix_tasks_ended", "tasks")
    op.create_index(
        "ix_tasks_ended",
        "tasks",
        ["owner", "tenant", "context_id", "updated_at", "messages", "model", "ended_at"],
        sqlite_where=ended,
        postgresql_where=ended,
    )


def _cache() -> None:
    op.create_table(
        "cached_conversations",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("topic_summary", sa.String()),
        sa.Column("last_message_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "owner", "tenant", "conversation_id", name="pk_cached_conversations"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_cached_conversations_at", "cached_conversations", ["last_message_at"])
    op.create_table(
        "cached_turns",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "owner",
            "tenant",
            "conversation_id",
            "started_at",
            "task_id",
            "number",
            name="pk_cached_turns",
        ),
    )
