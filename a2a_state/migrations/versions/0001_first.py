"""The first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

# What SQLAlchemy cannot say: full-text search. Rows of passages are inserted and deleted, never changed.
SEARCH_INDEX = {
    "sqlite": (
        """
        CREATE VIRTUAL TABLE passages_index USING fts5(
            terms, content='passages', content_rowid='passage_id', tokenize='unicode61')
        """,
        """
        CREATE TRIGGER passages_inserted AFTER INSERT ON passages BEGIN
            INSERT INTO passages_index(rowid, terms) VALUES (new.passage_id, new.terms);
        END
        """,
        """
        CREATE TRIGGER passages_deleted AFTER DELETE ON passages BEGIN
            INSERT INTO passages_index(passages_index, rowid, terms)
            VALUES ('delete', old.passage_id, old.terms);
        END
        """,
    ),
    "postgresql": ("CREATE INDEX ix_passages_terms ON passages USING gin (terms)",),
}


def upgrade() -> None:
    _contexts_and_tasks()
    _embedded_stack()
    _documents()


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _bytes(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=nullable)


def _contexts_and_tasks() -> None:
    op.create_table(
        "contexts",
        _text("owner"),
        _text("tenant"),
        _text("context_id"),
        _text("stack"),
        _text("conversation_id"),
        _number("created_at"),
        sa.PrimaryKeyConstraint("owner", "tenant", "context_id", name="pk_contexts"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tasks",
        _text("task_id"),
        _text("owner"),
        _text("tenant"),
        _text("context_id"),
        _text("state"),
        _text("turn_id", nullable=True),
        _bytes("body"),
        _number("seq"),
        _number("fence"),
        _text("lease_holder"),
        _number("lease_until"),
        _number("created_at"),
        _number("updated_at"),
        _number("ended_at", nullable=True),
        sa.PrimaryKeyConstraint("task_id", name="pk_tasks"),
    )
    op.create_index("ix_tasks_updated", "tasks", ["owner", "tenant", "updated_at"])
    alive = sa.text("ended_at IS NULL")
    for name, columns in (
        ("ix_tasks_context", ["owner", "tenant", "context_id"]),
        ("ix_tasks_lease", ["lease_until"]),
    ):
        op.create_index(name, "tasks", columns, sqlite_where=alive, postgresql_where=alive)
    op.create_table(
        "task_events",
        _text("task_id"),
        _number("first_seq"),
        _number("last_seq"),
        _bytes("body"),
        sa.PrimaryKeyConstraint("task_id", "first_seq", name="pk_task_events"),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.task_id"], name="fk_task_events_task_id", ondelete="CASCADE"
        ),
    )


def _embedded_stack() -> None:
    op.create_table(
        "agents",
        _text("agent_id"),
        _text("owner"),
        _text("tenant"),
        _bytes("agent_config"),
        _number("created_at"),
        sa.PrimaryKeyConstraint("agent_id", name="pk_agents"),
    )
    op.create_index("ix_agents_owner", "agents", ["owner", "tenant", "created_at"])
    op.create_table(
        "sessions",
        _text("session_id"),
        _text("owner"),
        _text("tenant"),
        _text("agent_id"),
        _text("session_name"),
        _number("started_at"),
        sa.PrimaryKeyConstraint("session_id", name="pk_sessions"),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["agents.agent_id"], name="fk_sessions_agent_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_sessions_agent", "sessions", ["owner", "tenant", "agent_id", "started_at"])
    op.create_table(
        "turns",
        _text("turn_id"),
        _text("session_id"),
        _text("owner"),
        _text("tenant"),
        _text("state"),
        _bytes("options"),
        _bytes("input_messages"),
        _bytes("steps"),
        _bytes("output_message", nullable=True),
        _number("started_at"),
        _number("completed_at", nullable=True),
        sa.PrimaryKeyConstraint("turn_id", name="pk_turns"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.session_id"], name="fk_turns_session_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_turns_session", "turns", ["session_id", "started_at"])


def _documents() -> None:
    op.create_table(
        "documents",
        _text("source"),
        _text("path"),
        _text("digest"),
        _text("title"),
        _number("size"),
        _number("indexed_at"),
        sa.PrimaryKeyConstraint("source", "path", name="pk_documents"),
    )
    op.create_table(
        "passages",
        sa.Column("passage_id", sa.Integer(), autoincrement=True, nullable=False),
        _text("source"),
        _text("path"),
        sa.Column("position", sa.Integer(), nullable=False),
        _text("title"),
        _text("section"),
        _text("anchor"),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column(
            "terms", sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql"), nullable=False
        ),
        sa.PrimaryKeyConstraint("passage_id", name="pk_passages"),
        sa.ForeignKeyConstraint(
            ["source", "path"],
            ["documents.source", "documents.path"],
            name="fk_passages_source_path",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_passages_document", "passages", ["source", "path"])
    for statement in SEARCH_INDEX[op.get_bind().dialect.name]:
        op.execute(statement)
