"""Evaluations of models and agents: of rows at once, or of a dataset as a job."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from a2a_state.jobs import COMPLETED, EVAL, FAILED, Job, Jobs
from agent.clock import now
from agent.errors import InvalidParams, ResourceNotFound
from agent.evaluation.benchmarks import Registry
from agent.evaluation.config import read_config
from agent.evaluation.dataset_job import ROWS, DatasetJob, DatasetRequest
from agent.evaluation.dataset_rows import CHUNK, chunks_of
from agent.evaluation.evaluators import Evaluators
from agent.evaluation.row import Row
from agent.evaluation.rows import Outcome, check_rows
from agent.jobs.runner import JobRunner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from a2a_state.database import Database
    from agent.agents.base import AgentsApi
    from agent.caller import Caller
    from agent.evaluation.config import BenchmarkConfig
    from agent.evaluation.dataset_rows import Datasets
    from agent.inferences import Inferences
    from agent.settings import Settings
    from agent.stacks import Stack

type Json = Any

CALL_ROWS = 200
"""Most rows that are evaluated while the caller waits."""


class Evaluation:
    """The evaluations of all callers; jobs run between ``open`` and ``close``."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        datasets: Datasets,
        agents: AgentsApi,
        inferences: Inferences,
        stack: Stack,
    ) -> None:
        """Nothing runs before ``open``."""
        given = settings.experimental
        self.benchmarks = Registry(database, given.datasets.per_owner)
        self._jobs = Jobs(database)
        self._limits = given.jobs
        self._datasets = datasets
        self._evaluators = Evaluators(settings, agents, inferences, stack)
        work = DatasetJob(datasets, self._evaluators)
        self._runner = JobRunner(self._jobs, EVAL, work.run, running=self._limits.running)

    async def open(self) -> None:
        """Start running jobs, those too that another process left."""
        await self._runner.open()

    async def close(self) -> None:
        """Stop; another process goes on with the jobs that run."""
        await self._runner.close()

    async def evaluate_rows(
        self,
        caller: Caller,
        benchmark_id: str,
        input_rows: Sequence[Json] | None,
        scoring_functions: Sequence[str] | None,
        benchmark_config: Json,
    ) -> Json:
        """Evaluate rows; returns ``{"generations", "scores"}``.

        Without rows they are those of the benchmark's dataset, and so are the scoring functions. Raises
        ``InvalidParams`` for a row that cannot be evaluated, ``ResourceNotFound``, and what answering raises.
        """
        benchmark = await self.benchmarks.find(caller, benchmark_id)
        config = read_config(benchmark_config)
        names = benchmark.scoring_functions if scoring_functions is None else scoring_functions
        plan = self._evaluators.plan(caller, config, names)
        await self._evaluators.check_asked(plan)
        if input_rows is None:
            rows = await self._rows_of(caller, benchmark.dataset_id, config)
        else:
            rows = [Row(f"input_rows[{number}]", row) for number, row in enumerate(input_rows)]
        if len(rows) > CALL_ROWS:
            raise InvalidParams(
                "input_rows", f"more than {CALL_ROWS}: register a dataset, run a job"
            )
        check_rows(rows, plan.scorings)
        outcome = Outcome(plan.scorings)
        if rows:
            async with self._evaluators.evaluator(plan) as evaluator:
                outcome.add(await evaluator.evaluate(rows))
        return await asyncio.to_thread(outcome.response)

    async def run_eval(self, caller: Caller, benchmark_id: str, benchmark_config: Json) -> Json:
        """Begin an evaluation of the benchmark's dataset; returns ``{"job_id", "status"}``."""
        benchmark = await self.benchmarks.find(caller, benchmark_id)
        config = read_config(benchmark_config)
        if (config.most_rows or 0) > ROWS:
            raise InvalidParams("benchmark_config.num_examples", f"more than {ROWS}")
        plan = self._evaluators.plan(caller, config, benchmark.scoring_functions)
        await self._evaluators.check_asked(plan)
        await self._datasets.get(caller, benchmark.dataset_id)
        request = DatasetRequest(
            benchmark.dataset_id, benchmark.scoring_functions, benchmark_config, caller.actions
        )
        job = Job(
            owner=caller.owner,
            tenant=caller.tenant,
            kind=EVAL,
            job_id=str(uuid.uuid4()),
            subject=benchmark_id,
            request=msgspec.to_builtins(request),
            created_at=now(),
        )
        await self._jobs.add(job, self._limits.waiting_per_owner)
        self._runner.wake()
        return _wire(job)

    async def status(self, caller: Caller, benchmark_id: str, job_id: str) -> Json:
        """Return ``{"job_id", "status"}``."""
        return _wire(await self._find(caller, benchmark_id, job_id))

    async def result(self, caller: Caller, benchmark_id: str, job_id: str) -> msgspec.Raw:
        """Return ``{"generations", "scores"}`` as JSON; raises ``InvalidParams`` when there is none yet."""
        job = await self._find(caller, benchmark_id, job_id)
        if job.state == COMPLETED:
            result = await self._jobs.result(job.key)
            if result is None:
                # Deleted in between.
                raise ResourceNotFound("job", job_id)
            return result
        if job.state == FAILED:
            raise InvalidParams("job_id", f"the job failed: {job.error}")
        raise InvalidParams("job_id", f"the job is not completed, its status is {job.state}")

    async def cancel(self, caller: Caller, benchmark_id: str, job_id: str) -> None:
        """Stop a job, wherever it runs; one that has ended stays as it is."""
        job = await self._find(caller, benchmark_id, job_id)
        await self._jobs.cancel(caller.owner, caller.tenant, EVAL, job_id, now())
        self._runner.cancel(job.key)

    async def _find(self, caller: Caller, benchmark_id: str, job_id: str) -> Job:
        found = None
        # No id holds a zero: PostgreSQL does not even take it in a question.
        if "\0" not in job_id:
            owner, tenant = caller.owner, caller.tenant
            found = await self._jobs.get(owner, tenant, EVAL, job_id, brief=True)
        if found is None or found.subject != benchmark_id:
            raise ResourceNotFound("job", job_id)
        return found

    async def _rows_of(
        self, caller: Caller, dataset_id: str, config: BenchmarkConfig
    ) -> Sequence[Row]:
        """Return rows of a dataset, a few more than are evaluated if there are as many."""
        rows: list[Row] = []
        chunks = chunks_of(self._datasets, caller, dataset_id, 0, config.most_rows)
        async with aclosing(chunks):
            async for chunk in chunks:
                rows += chunk
                if len(rows) > CALL_ROWS + CHUNK:
                    break
        return rows


def _wire(job: Job) -> Json:
    return {"job_id": job.job_id, "status": job.state}
