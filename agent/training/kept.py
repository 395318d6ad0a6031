"""How far a job is, kept for callers and for whoever goes on with it."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from agent.clock import now
from agent.jobs.progress import JobFailed
from agent.training.shown import moment
from agent.training.told import Ended, Saved, Started, Stepped

if TYPE_CHECKING:
    from pathlib import Path

    from a2a_state.jobs import Job
    from agent.jobs.progress import Progress
    from agent.training.attempt import Attempt
    from agent.training.told import Metrics, Told

type Json = Any

SAVE_SECONDS = 2.0
"""How often steps are kept; checkpoints always are."""

_MOST = 700.0  # the logarithm of the largest number there is


class Kept:
    """The checkpoints of a job, in the form in which they are shown, and what it uses."""

    def __init__(self, place: Path, job: Job, progress: Progress) -> None:
        """Begin with what was saved, as far as it is still there: this may be another machine."""
        saved = progress.saved or {}
        self._place = place
        self._job = job
        self._progress = progress
        self._resources: Json = saved.get("resources")
        self._checkpoints: list[Json] = [
            each for each in saved.get("checkpoints", ()) if (place / each["path"]).is_dir()
        ]
        self._saved_at = 0.0
        self._has_ended = False

    def last(self) -> Path | None:
        """Return the checkpoint to go on from."""
        return self._place / self._checkpoints[-1]["path"] if self._checkpoints else None

    async def hear(self, attempt: Attempt, told: Told) -> None:
        """Keep what the worker tells."""
        match told:
            case Started():
                self._resources = told.resources
            case Stepped():
                self._resources = {
                    **(self._resources or {}),
                    "steps_done": told.step,
                    "steps": told.steps,
                }
                if time.monotonic() - self._saved_at < SAVE_SECONDS:
                    return
            case Saved():
                self._checkpoints.append(self._checkpoint(attempt, told))
            case Ended():
                self._has_ended = True
                return
        await self._progress.save(self._json())
        self._saved_at = time.monotonic()

    def finished(self) -> Json:
        """Return the result of a job that has ended; raises ``JobFailed`` when it broke off."""
        if not self._has_ended:
            raise JobFailed("The training process ended before it was done.")
        return self._json()

    def _json(self) -> Json:
        return {"resources": self._resources, "checkpoints": self._checkpoints}

    def _checkpoint(self, attempt: Attempt, told: Saved) -> Json:
        return {
            "identifier": f"{self._job.job_id}-{told.epoch}",
            "created_at": moment(now()),
            "epoch": told.epoch,
            "post_training_job_id": self._job.job_id,
            "path": attempt.keep(told.name),
            "training_metrics": _shown(told.epoch, told.metrics),
        }


def _shown(epoch: int, metrics: Metrics | None) -> Json:
    """Return a ``PostTrainingMetric``, which must have all its members."""
    if metrics is None:
        return None
    return {
        "epoch": epoch,
        "train_loss": metrics.train_loss,
        "validation_loss": metrics.validation_loss,
        "perplexity": math.exp(min(metrics.validation_loss, _MOST)),
    }
