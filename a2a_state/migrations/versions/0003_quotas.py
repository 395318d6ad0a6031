"""What quotas need: balances, totals of tokens, and what conversations hold."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    tokens = sa.Column("tokens", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column("contexts", tokens)
    op.create_table(
        "quotas",
        sa.Column("limiter", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("available", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("renew_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("limiter", "subject", name="pk_quotas"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_quotas_due", "quotas", ["limiter", "period", "renew_at"])
    op.create_table(
        "quota_history",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "provider", "model", name="pk_quota_history"),
        sqlite_with_rowid=False,
    )
