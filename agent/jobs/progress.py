"""How far a job is, and how it ends when it cannot go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.errors import AgentError, TaskTaken

if TYPE_CHECKING:
    from a2a_state.jobs import Job, Jobs

type Json = Any


class JobFailed(AgentError):
    """The job failed; the message is written for whoever asks what became of it."""


class Progress:
    """Keeps how far a job is, so that whoever takes it over goes on from there."""

    def __init__(self, jobs: Jobs, job: Job) -> None:
        """``saved`` is what was saved last, by whoever ran the job; None when nothing was."""
        self.saved: Json = job.progress
        self._jobs = jobs
        self._job = job

    async def save(self, progress: Json) -> None:
        """Keep it; raises ``TaskTaken`` when another runs the job now, and ``StateError``."""
        if not await self._jobs.save(self._job, progress):
            raise TaskTaken
        self.saved = progress
