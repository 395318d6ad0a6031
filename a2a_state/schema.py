"""All tables of the database, gathered: what the migrations must arrive at."""

from a2a_state import (
    agents,
    benchmarks,
    conversation_cache,
    datasets,
    forwarded,
    job_table,
    passages,
    push_configs,
    quotas,
    session_claims,
    sessions,
)
from a2a_state.tables import metadata

__all__ = [
    "agents",
    "benchmarks",
    "conversation_cache",
    "datasets",
    "forwarded",
    "job_table",
    "metadata",
    "passages",
    "push_configs",
    "quotas",
    "session_claims",
    "sessions",
]
