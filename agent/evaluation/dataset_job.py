"""An evaluation of a dataset as a job: it goes on where another stopped."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from agent.caller import Caller
from agent.clock import now
from agent.evaluation.config import read_config
from agent.evaluation.dataset_rows import chunks_of
from agent.evaluation.rows import Kept, Outcome, check_rows
from agent.jobs.progress import JobFailed

if TYPE_CHECKING:
    from a2a_state.jobs import Job
    from agent.evaluation.dataset_rows import Datasets
    from agent.evaluation.evaluators import Evaluators, Plan
    from agent.jobs.progress import Progress

type Json = Any

ROWS = 10_000
"""Most rows of one job."""

HOURS = 24
"""How long one job may take: others wait."""

RESULT_BYTES = 64 * 1024 * 1024
SAVED_SHARE = 4
"""What another may have to do again: one of so many rows."""

DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before a row is tried again whose stack was away: nobody waits for the answer."""

TOO_MANY = f"The dataset has more than {ROWS} rows: say num_examples."
TOO_LONG = f"The evaluation took more than {HOURS} hours: say num_examples."
TOO_LARGE = f"The answers are larger than {RESULT_BYTES} bytes together: say num_examples."


class DatasetRequest(msgspec.Struct, frozen=True):
    """What a job needs to run; ``benchmark_config`` as it was given, ``actions`` those of who asked."""

    dataset_id: str
    scoring_functions: tuple[str, ...]
    benchmark_config: dict[str, Json]
    actions: frozenset[str] = frozenset()


class DatasetJob:
    """The work of jobs."""

    def __init__(self, datasets: Datasets, evaluators: Evaluators) -> None:
        """Nothing is read."""
        self._datasets = datasets
        self._evaluators = evaluators

    async def run(self, job: Job, progress: Progress) -> Json:
        """Return the ``EvaluateResponse``; what it raises is why the job failed."""
        request = msgspec.convert(job.request, DatasetRequest)
        config = read_config(request.benchmark_config)
        # Who asked is gone: nothing that they showed is kept, but whose it is, and what they may do.
        caller = Caller(job.owner, job.tenant, actions=request.actions)
        plan = self._evaluators.plan(caller, config, request.scoring_functions)
        kept = None if progress.saved is None else Kept.of(progress.saved)
        if kept is None:
            await self._check(plan, request.dataset_id)
        elif kept.agent_id is not None:
            await self._evaluators.forget(caller, kept.agent_id)
        outcome = Outcome(plan.scorings, kept)
        left = HOURS * 3600 - (now() - (job.started_at or now())) / 1000
        try:
            async with asyncio.timeout(left):
                await self._evaluate(plan, request.dataset_id, outcome, progress)
        except TimeoutError as exc:
            raise JobFailed(TOO_LONG) from exc
        return await asyncio.to_thread(outcome.response)

    async def _check(self, plan: Plan, dataset_id: str) -> None:
        """Fail before a model is asked anything, rather than after the last good row."""
        count, most = 0, plan.config.most_rows
        chunks = chunks_of(self._datasets, plan.caller, dataset_id, 0, most)
        async with aclosing(chunks):
            async for rows in chunks:
                count += len(rows)
                if count > ROWS:
                    raise JobFailed(TOO_MANY)
                check_rows(rows, plan.scorings)

    async def _evaluate(
        self, plan: Plan, dataset_id: str, outcome: Outcome, progress: Progress
    ) -> None:
        kept = outcome.kept
        saved = start = outcome.rows
        most, size = plan.config.most_rows, kept.size
        chunks = chunks_of(self._datasets, plan.caller, dataset_id, start, most)
        async with aclosing(chunks), self._evaluators.evaluator(plan, DELAYS) as evaluator:
            kept.agent_id = evaluator.agent_id
            if kept.agent_id is not None:
                await progress.save(kept)
            async for rows in chunks:
                check_rows(rows, plan.scorings)
                answered = await evaluator.evaluate(rows)
                size += sum(each.size for each in answered)
                if size > RESULT_BYTES:
                    raise JobFailed(TOO_LARGE)
                outcome.add(answered)
                # All of it is written each time: seldom enough for that to be little in all.
                if outcome.rows - saved >= outcome.rows // SAVED_SHARE:
                    await progress.save(kept)
                    saved = outcome.rows
                if outcome.rows > ROWS:
                    raise JobFailed(TOO_MANY)
