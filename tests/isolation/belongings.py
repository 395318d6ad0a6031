"""What people have who use Llama Stack's experimental API: made without its routes, in any tenant."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from a2a_state.jobs import COMPLETED, EVAL, IN_PROGRESS, Job, Jobs
from agent.agents.base import NewTurn
from agent.caller import Caller
from agent.clock import now
from agent.evaluation.benchmarks import NewBenchmark
from agent.training.weights import KIND as TRAINING
from tests.isolation.llama_stack_cases import FUNCTIONS
from tests.isolation.world import CALL, PRIVATE

if TYPE_CHECKING:
    from tests.isolation.cases import Json
    from tests.isolation.routes import Parts

# As long as any test: nobody takes a job from whoever seems to run it.
_LEASE_MS = 3_600_000


class Belongings(NamedTuple):
    """Makes, and looks at, what one owner has in one tenant."""

    parts: Parts
    owner: str
    tenant: str = ""

    @property
    def caller(self) -> Caller:
        """Who has them."""
        return Caller(owner=self.owner, tenant=self.tenant)

    async def settle(self) -> dict[str, str]:
        """Make one of everything; returns the ids."""
        ids = {name: str(uuid.uuid4()) for name in ("@dataset", "@benchmark")}
        source = {"type": "rows", "rows": [{"prompt": PRIVATE, "completion": "b"}]}
        await self.parts.experimental.datasets.register(
            self.caller,
            purpose="post-training/messages",
            source=source,
            metadata={"of": PRIVATE},
            dataset_id=ids["@dataset"],
        )
        benchmark = NewBenchmark(
            benchmark_id=ids["@benchmark"],
            dataset_id=ids["@dataset"],
            scoring_functions=tuple(FUNCTIONS),
            metadata={"of": PRIVATE},
        )
        await self.parts.experimental.evaluation.benchmarks.register(self.caller, benchmark)
        return await self._talk() | ids | await self._jobs(ids["@benchmark"])

    async def has(self, ids: dict[str, str]) -> Json:
        """Return all that there is of what ``settle`` made."""
        agents, datasets, jobs = *self.parts.experimental[:2], Jobs(self.parts.engine.database)
        rows = datasets.pages(self.caller, ids["@dataset"])
        kinds = {"@eval-job": EVAL, "@training-job": TRAINING, "@trained": TRAINING}
        return [
            await agents.get(self.caller, ids["@agent"]),
            await agents.get_session(self.caller, ids["@agent"], ids["@session"], None),
            await datasets.get(self.caller, ids["@dataset"]),
            [page async for page in rows],
            await self.parts.experimental.evaluation.benchmarks.find(
                self.caller, ids["@benchmark"]
            ),
            *[
                await jobs.get(self.owner, self.tenant, kind, ids[name])
                for name, kind in kinds.items()
            ],
        ]

    async def _talk(self) -> dict[str, str]:
        agents, caller = self.parts.experimental.agents, self.caller
        config = {"model": "m", "instructions": PRIVATE, "toolgroups": []}
        agent = (await agents.create(caller, config))["agent_id"]
        session = (await agents.create_session(caller, agent, PRIVATE))["session_id"]
        turn = await self._turn(agent, session, PRIVATE)
        waiting = await self._turn(agent, session, f"{CALL} {PRIVATE}")
        return {
            "@agent": agent,
            "@session": session,
            "@turn": turn["turn_id"],
            "@step": turn["steps"][0]["step_id"],
            "@waiting": waiting["turn_id"],
        }

    async def _turn(self, agent: str, session: str, text: str) -> Json:
        turn = NewTurn(messages=({"role": "user", "content": text},))
        stream = await self.parts.experimental.agents.create_turn(self.caller, agent, session, turn)
        last: Any = None
        try:
            async for chunk in stream.chunks():
                last = chunk["event"]["payload"]
        finally:
            await stream.aclose()
        return last["turn"]

    async def _jobs(self, benchmark: str) -> dict[str, str]:
        """Make jobs as others run them, or have run them."""
        result = {"generations": [{"generated_answer": PRIVATE}], "scores": {}}
        evaluated = await self._job(EVAL, subject=benchmark, state=COMPLETED, result=result)
        running = await self._job(TRAINING, state=IN_PROGRESS)
        job_id = str(uuid.uuid4())
        checkpoint = {
            "identifier": f"{job_id}-1",
            "created_at": "2026-01-01T00:00:00Z",
            "epoch": 1,
            "post_training_job_id": job_id,
            "path": f"{job_id}/checkpoint-1",
            "training_metrics": None,
        }
        made = self.parts.settings.experimental.training.place / str(checkpoint["path"])
        made.mkdir(parents=True)
        done = {"checkpoints": [checkpoint], "resources": {"of": PRIVATE}}
        await self._job(TRAINING, job_id, state=COMPLETED, result=done)
        return {
            "@eval-job": evaluated,
            "@training-job": running,
            "@trained": job_id,
            "@checkpoint": f"{job_id}-1",
        }

    async def _job(self, kind: str, job_id: str = "", **more: Any) -> str:
        job = Job(
            owner=self.owner,
            tenant=self.tenant,
            kind=kind,
            job_id=job_id or str(uuid.uuid4()),
            request={"of": PRIVATE},
            created_at=now(),
            ended_at=now() if more["state"] == COMPLETED else None,
            lease_holder="another process",
            lease_until=now() + _LEASE_MS,
            **more,
        )
        assert await Jobs(self.parts.engine.database).add(job, 1000)
        return job.job_id
