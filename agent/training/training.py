"""Training on this machine: each job in a worker process of its own.

    folder/<owner>/<job>/<attempt>/checkpoint-<step>

The names of owner and job are digests, and each attempt has a folder of its own: two processes never
write in the same, also when one is taken for dead that is only slow. Of an attempt its checkpoints stay, with
its log, until whoever runs the server removes them; of one without a checkpoint nothing does.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import BaseModel, ValidationError

from a2a_state.jobs import CANCELLED, Job, Jobs
from agent.caller import Caller
from agent.clock import now
from agent.errors import InvalidParams, NotProvided, ResourceNotFound
from agent.jobs.progress import JobFailed
from agent.jobs.runner import JobRunner
from agent.training import plan as plans
from agent.training.attempt import Attempt, clear
from agent.training.examples import write_examples
from agent.training.kept import Kept
from agent.training.plan import Plan
from agent.training.process import told_by
from agent.training.request import PreferenceOptimizeRequest, SupervisedFineTuneRequest
from agent.training.shown import artifacts_of, status_of
from agent.training.weights import KIND, Models

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from a2a_state.database import Database
    from agent.datasets.datasets import Datasets
    from agent.jobs.progress import Progress
    from agent.settings import Settings

type Json = Any

_NEEDED = ("torch", "transformers", "peft", "trl")
_WORKER = (sys.executable, "-P", "-m", "agent.training.worker")
NOT_INSTALLED = "Training needs the extra `training`: pip install 'llamastack-a2a[training]'."


class Training:
    """Answers the post-training API by itself (``PostTrainingApi``)."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        datasets: Datasets,
        *,
        command: Sequence[str] | None = None,
    ) -> None:
        """``command`` starts a worker; None: that of the extra ``training``. An empty one trains nothing."""
        given = settings.experimental
        self._jobs = Jobs(database)
        self._datasets = datasets
        self._waiting_limit = given.jobs.waiting_per_owner
        self._place = given.training.place.absolute()
        self._models = Models(self._jobs, given.training.models, self._place)
        self._command = worker_of_extra() if command is None else command
        # One at a time: a job takes the whole machine.
        self._runner = JobRunner(self._jobs, KIND, self._run, running=1)

    async def open(self) -> None:
        """Begin with the jobs that wait, if any can be run here."""
        if self._command:
            await self._runner.open()

    async def close(self) -> None:
        """Stop the worker; another server, or this one after its next start, goes on with the job."""
        if self._command:
            await self._runner.close()

    async def supervised_fine_tune(self, caller: Caller, body: Json) -> Json:
        """See ``PostTrainingApi``."""
        request = _read(SupervisedFineTuneRequest, body)
        return await self._begin(caller, request.job_uuid, plans.fine_tuning(request))

    async def preference_optimize(self, caller: Caller, body: Json) -> Json:
        """See ``PostTrainingApi``."""
        request = _read(PreferenceOptimizeRequest, body)
        return await self._begin(caller, request.job_uuid, plans.preference(request))

    async def list(self, caller: Caller) -> Json:
        """See ``PostTrainingApi``."""
        jobs = await self._jobs.list(caller.owner, caller.tenant, KIND)
        return {"data": [{"job_uuid": job.job_id} for job in jobs]}

    async def status(self, caller: Caller, job_uuid: str) -> Json:
        """See ``PostTrainingApi``."""
        return status_of(await self._get(caller, job_uuid))

    async def artifacts(self, caller: Caller, job_uuid: str) -> Json:
        """See ``PostTrainingApi``."""
        return artifacts_of(await self._get(caller, job_uuid))

    async def cancel(self, caller: Caller, job_uuid: str) -> None:
        """See ``PostTrainingApi``; to cancel again what was canceled is no error."""
        job = await self._jobs.cancel(caller.owner, caller.tenant, KIND, job_uuid, now())
        if job is None:
            raise ResourceNotFound("job", job_uuid)
        if job.ended_at is None:
            self._runner.cancel(job.key)
        elif job.state != CANCELLED:
            raise InvalidParams("job_uuid", f"Job {job_uuid} has ended already: it is {job.state}")
        else:
            # Where nobody ran it, nobody else does.
            await asyncio.to_thread(clear, self._place, job)

    async def _get(self, caller: Caller, job_uuid: str) -> Job:
        job = await self._jobs.get(caller.owner, caller.tenant, KIND, job_uuid)
        if job is None:
            raise ResourceNotFound("job", job_uuid)
        return job

    async def _begin(self, caller: Caller, job_uuid: str, plan: Plan) -> Json:
        if not self._command:
            raise NotProvided(NOT_INSTALLED)
        owner, tenant = caller.owner, caller.tenant
        if await self._jobs.get(owner, tenant, KIND, job_uuid) is not None:
            raise _taken(job_uuid)
        if not plan.model:
            plan = msgspec.structs.replace(plan, model=await self._models.only())
        weights = await self._models.find(owner, tenant, plan.model)
        if weights.adapter is not None and plan.lora is not None:
            raise InvalidParams(
                "algorithm_config",
                "the model is adapted by LoRA already; leave this out to go on training the adapter",
            )
        for dataset_id in filter(None, (plan.dataset_id, plan.validation_dataset_id)):
            await self._datasets.iterrows(caller, dataset_id)
        job = Job(
            owner=owner,
            tenant=tenant,
            kind=KIND,
            job_id=job_uuid,
            request=msgspec.to_builtins(plan),
            created_at=now(),
        )
        if not await self._jobs.add(job, self._waiting_limit):
            raise _taken(job_uuid)
        self._runner.wake()
        return {"job_uuid": job_uuid}

    async def _run(self, job: Job, progress: Progress) -> Json:
        """Train; returns the checkpoints. Canceled, it stops the worker."""
        plan = msgspec.convert(job.request, Plan)
        try:
            weights = await self._models.find(job.owner, job.tenant, plan.model)
        except ResourceNotFound as exc:
            raise JobFailed(f"The model {plan.model} is not there any more.") from exc
        kept = Kept(self._place, job, progress)
        async with Attempt(self._place, job) as attempt:
            caller = Caller(owner=job.owner, tenant=job.tenant)
            validates = await write_examples(self._datasets, caller, plan, attempt.folder)
            work = attempt.work(plan, weights, kept.last(), validates=validates)
            async with aclosing(told_by(self._command, work, attempt.folder)) as events:
                async for event in events:
                    await kept.hear(attempt, event)
        return kept.finished()


def worker_of_extra(find: Callable[[str], object] = find_spec) -> Sequence[str]:
    """Return what starts the worker of the extra; empty without it. Nothing of it is imported."""
    return _WORKER if all(find(name) is not None for name in _NEEDED) else ()


def _read[Request: BaseModel](kind: type[Request], body: Json) -> Request:
    try:
        return kind.model_validate(body)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        raise InvalidParams(".".join(map(str, first["loc"])), first["msg"]) from exc


def _taken(job_uuid: str) -> InvalidParams:
    return InvalidParams("job_uuid", f"Job {job_uuid} already exists")
