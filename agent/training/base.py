"""What answers Llama Stack's post-training API: an engine of this server, or a Llama Stack behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from agent.caller import Caller

type Json = Any


class PostTrainingApi(Protocol):
    """The six operations; bodies and answers are the JSON of Llama Stack 0.3.5.

    A job that is another's is answered as one that is not there.
    """

    async def supervised_fine_tune(self, caller: Caller, body: Json) -> Json:
        """Begin a job by a ``SupervisedFineTuneRequest``; returns ``{"job_uuid"}``.

        Raises ``InvalidParams``, ``ResourceNotFound``, ``NotProvided`` or ``TooManyTasks``.
        """

    async def preference_optimize(self, caller: Caller, body: Json) -> Json:
        """Begin a job by a ``PreferenceOptimizeRequest``; the rest is as of ``supervised_fine_tune``."""

    async def list(self, caller: Caller) -> Json:
        """Return ``{"data": [{"job_uuid"}]}``, the caller's jobs."""

    async def status(self, caller: Caller, job_uuid: str) -> Json:
        """Return a ``PostTrainingJobStatusResponse``; raises ``ResourceNotFound``."""

    async def artifacts(self, caller: Caller, job_uuid: str) -> Json:
        """Return a ``PostTrainingJobArtifactsResponse``; raises ``ResourceNotFound``."""

    async def cancel(self, caller: Caller, job_uuid: str) -> None:
        """Stop a job; raises ``ResourceNotFound``, or ``InvalidParams`` for one that has ended.

        Raises ``NotProvided`` where jobs cannot be stopped.
        """
