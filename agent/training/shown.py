"""Jobs as callers see them: Llama Stack's answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent.training.weights import checkpoints_of

if TYPE_CHECKING:
    from a2a_state.jobs import Job

type Json = Any


def status_of(job: Job) -> Json:
    """Return a ``PostTrainingJobStatusResponse``; why a job failed is among its resources.

    The specification has no other member that may hold it.
    """
    kept = job.result or job.progress or {}
    resources = kept.get("resources")
    if job.error is not None:
        resources = {**(resources or {}), "error": job.error}
    return {
        "job_uuid": job.job_id,
        "status": job.state,
        "scheduled_at": moment(job.created_at),
        "started_at": moment(job.started_at),
        "completed_at": moment(job.ended_at),
        "resources_allocated": resources,
        "checkpoints": checkpoints_of(job),
    }


def artifacts_of(job: Job) -> Json:
    """Return a ``PostTrainingJobArtifactsResponse``."""
    return {"job_uuid": job.job_id, "checkpoints": checkpoints_of(job)}


def moment(at: int | None) -> str | None:
    """Return milliseconds since the epoch as ISO 8601."""
    if at is None:
        return None
    text = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
