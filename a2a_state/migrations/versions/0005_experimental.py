"""What Llama Stack's experimental API keeps: sessions of agents, datasets, benchmarks, jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("contexts", sa.Column("agent_id", sa.String()))
    op.add_column("contexts", sa.Column("session_name", sa.String()))
    is_session = sa.text("agent_id IS NOT NULL")
    op.create_index(
        "ix_contexts_agent_id",
        "contexts",
        ["owner", "tenant", "agent_id", "created_at"],
        sqlite_where=is_session,
        postgresql_where=is_session,
    )
    is_ours = sa.text("agent_id IS NULL")
    op.create_index(
        "ix_contexts_created",
        "contexts",
        ["owner", "tenant", "created_at"],
        sqlite_where=is_ours,
        postgresql_where=is_ours,
    )
    _session_claims()
    _datasets()
    _benchmarks()
    _jobs()
    _forwarded()


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _bytes(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=nullable)


def _session_claims() -> None:
    op.create_table(
        "session_claims",
        _text("owner"),
        _text("tenant"),
        _text("context_id"),
        _text("claim"),
        _number("claimed_until"),
        sa.PrimaryKeyConstraint("owner", "tenant", "context_id", name="pk_session_claims"),
        sqlite_with_rowid=False,
    )


def _datasets() -> None:
    op.create_table(
        "datasets",
        _text("owner"),
        _text("tenant"),
        _text("dataset_id"),
        _text("purpose"),
        _bytes("source"),
        _bytes("metadata"),
        _bytes("digest"),
        _text("generation"),
        _number("rows"),
        _number("created_at"),
        sa.PrimaryKeyConstraint("owner", "tenant", "dataset_id", name="pk_datasets"),
    )
    op.create_index("ix_datasets_created", "datasets", ["owner", "tenant", "created_at"])
    op.create_table(
        "dataset_rows",
        _text("owner"),
        _text("tenant"),
        _text("dataset_id"),
        _number("first_row"),
        _number("last_row"),
        _bytes("body"),
        sa.PrimaryKeyConstraint(
            "owner", "tenant", "dataset_id", "first_row", name="pk_dataset_rows"
        ),
        sa.ForeignKeyConstraint(
            ["owner", "tenant", "dataset_id"],
            ["datasets.owner", "datasets.tenant", "datasets.dataset_id"],
            name="fk_dataset_rows_dataset",
            ondelete="CASCADE",
        ),
    )


def _benchmarks() -> None:
    op.create_table(
        "benchmarks",
        _text("owner"),
        _text("tenant"),
        _text("benchmark_id"),
        _text("dataset_id"),
        _bytes("scoring_functions"),
        _bytes("metadata"),
        _text("provider_id"),
        _text("provider_resource_id"),
        _number("created_at"),
        sa.PrimaryKeyConstraint("owner", "tenant", "benchmark_id", name="pk_benchmarks"),
    )
    op.create_index("ix_benchmarks_created", "benchmarks", ["owner", "tenant", "created_at"])


def _jobs() -> None:
    op.create_table(
        "jobs",
        _text("owner"),
        _text("tenant"),
        _text("kind"),
        _text("job_id"),
        _text("subject"),
        _text("state"),
        _bytes("request"),
        _bytes("progress", nullable=True),
        _bytes("result", nullable=True),
        _text("error", nullable=True),
        _number("created_at"),
        _number("started_at", nullable=True),
        _number("ended_at", nullable=True),
        _number("cancel_at", nullable=True),
        _number("fence"),
        _text("lease_holder"),
        _number("lease_until"),
        sa.PrimaryKeyConstraint("owner", "tenant", "kind", "job_id", name="pk_jobs"),
    )
    alive = sa.text("ended_at IS NULL")
    op.create_index(
        "ix_jobs_lease", "jobs", ["lease_until"], sqlite_where=alive, postgresql_where=alive
    )
    ended = sa.text("ended_at IS NOT NULL")
    op.create_index(
        "ix_jobs_ended", "jobs", ["kind", "ended_at"], sqlite_where=ended, postgresql_where=ended
    )
    op.create_index("ix_jobs_created", "jobs", ["owner", "tenant", "kind", "created_at"])


def _forwarded() -> None:
    op.create_table(
        "forwarded",
        _text("kind"),
        _text("parent_id"),
        _text("remote_id"),
        _text("owner"),
        _text("tenant"),
        _number("created_at"),
        sa.PrimaryKeyConstraint("kind", "parent_id", "remote_id", name="pk_forwarded"),
    )
    op.create_index(
        "ix_forwarded_owner",
        "forwarded",
        ["owner", "tenant", "kind", "parent_id", "created_at"],
    )
