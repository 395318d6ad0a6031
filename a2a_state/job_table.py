"""The table of jobs, which go on after the call that began them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table

from a2a_state.tables import metadata

jobs = Table(
    "jobs",
    metadata,
    Column("owner", String, primary_key=True),
    Column("tenant", String, primary_key=True),
    # eval or training
    Column("kind", String, primary_key=True),
    # Chosen by us for an evaluation, by the caller for training.
    Column("job_id", String, primary_key=True),
    # What it is about: the benchmark; empty for training.
    Column("subject", String, nullable=False),
    # scheduled, in_progress, completed, failed or cancelled
    Column("state", String, nullable=False),
    # JSON: all that running it needs.
    Column("request", LargeBinary, nullable=False),
    # JSON: how far it is, enough to go on from there.
    Column("progress", LargeBinary),
    # JSON
    Column("result", LargeBinary),
    # Why it failed, written for the caller.
    Column("error", String),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    # Set by who wants it canceled, for the process that runs it.
    Column("cancel_at", BigInteger),
    # One runs it: raised by whoever takes it over; a write with a lower number is refused.
    Column("fence", BigInteger, nullable=False),
    Column("lease_holder", String, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
)

ALIVE = jobs.c.ended_at.is_(None)
Index("ix_jobs_lease", jobs.c.lease_until, sqlite_where=ALIVE, postgresql_where=ALIVE)
_ENDED = jobs.c.ended_at.is_not(None)
Index(
    "ix_jobs_ended",
    jobs.c.kind,
    jobs.c.ended_at,
    sqlite_where=_ENDED,
    postgresql_where=_ENDED,
)
Index("ix_jobs_created", jobs.c.owner, jobs.c.tenant, jobs.c.kind, jobs.c.created_at)
