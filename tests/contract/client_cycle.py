"""What software written for Llama Stack 0.3.5 does, by its own client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from llama_stack_client import (
    AsyncLlamaStackClient,
    BadRequestError,
    DefaultAsyncHttpxClient,
    NotFoundError,
)

from tests.fakes.engine import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

type Json = Any

INSTRUCTIONS = "You are a test agent."
WEATHER = {
    "name": "get_weather",
    "description": "Weather for a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
ROWS = [
    {"input_query": "what is up", "expected_answer": "Echo: what is up"},
    {"input_query": "two", "expected_answer": "three"},
]
TRAINING: Json = {
    "n_epochs": 1,
    "max_steps_per_epoch": 1,
    "gradient_accumulation_steps": 1,
    "data_config": {
        "dataset_id": "client-pairs",
        "batch_size": 1,
        "shuffle": False,
        "data_format": "instruct",
    },
}


def client_of(url: str) -> AsyncLlamaStackClient:
    """Return the client; a turn is not to be tried twice."""
    return AsyncLlamaStackClient(
        base_url=url, api_key="none", max_retries=0, http_client=DefaultAsyncHttpxClient(timeout=60)
    )


class Cycle:
    """The calls, in the order in which an application makes them; ``model`` does what it is told."""

    def __init__(self, client: AsyncLlamaStackClient, model: str) -> None:
        # The client's own types are stricter than what it sends.
        self._client: Any = client
        self._alpha: Any = client.alpha
        self._model = model

    async def agents(self) -> None:
        """Agent, session, turns, a tool of the client, steps, lists, deletion."""
        config: Json = {
            "model": self._model,
            "instructions": INSTRUCTIONS,
            "client_tools": [WEATHER],
            "enable_session_persistence": True,
        }
        agents = self._alpha.agents
        agent_id = (await agents.create(agent_config=config)).agent_id
        assert (await agents.retrieve(agent_id)).agent_config.instructions == INSTRUCTIONS
        assert agent_id in [row["agent_id"] for row in (await agents.list()).data]
        session = await agents.session.create(agent_id, session_name="cycle")
        where = {"agent_id": agent_id, "session_id": session.session_id}
        first = await self._streamed(where, "hello there")
        assert first.output_message.content == "Echo: hello there"
        waiting = await self._tool_of_the_client(where)
        second = await agents.turn.retrieve(waiting, **where)
        assert [step.step_type for step in second.steps] == [
            "inference",
            "tool_execution",
            "inference",
        ]
        step = await agents.steps.retrieve(second.steps[0].step_id, turn_id=waiting, **where)
        assert step.step.step_id == second.steps[0].step_id
        kept = await agents.session.retrieve(session.session_id, agent_id=agent_id)
        assert [turn.turn_id for turn in kept.turns] == [first.turn_id, waiting]
        listed = await agents.session.list(agent_id)
        assert session.session_id in [row["session_id"] for row in listed.data]
        await agents.session.delete(session.session_id, agent_id=agent_id)
        with pytest.raises(NotFoundError):
            await agents.session.retrieve(session.session_id, agent_id=agent_id)
        await agents.delete(agent_id)
        await agents.delete(agent_id)
        with pytest.raises(NotFoundError):
            await agents.retrieve(agent_id)

    async def _streamed(self, where: dict[str, str], text: str) -> Any:
        """Run a turn; returns it as its last event has it."""
        stream = await self._alpha.agents.turn.create(
            **where, messages=[{"role": "user", "content": text}], stream=True
        )
        seen = [chunk.event.payload async for chunk in _chunks(stream)]
        assert seen[0].event_type == "step_start"
        assert "step_progress" in [payload.event_type for payload in seen]
        return seen[-1].turn

    async def _tool_of_the_client(self, where: dict[str, str]) -> str:
        """Have a tool of ours called, and give its result; returns the turn's id."""
        turn = await self._streamed(where, 'CALL get_weather {"city": "Oslo"}')
        [call] = turn.output_message.tool_calls
        response = {"tool_name": call.tool_name, "content": "12C rain"}
        turns = self._alpha.agents.turn
        with pytest.raises(BadRequestError):
            await turns.resume(
                turn.turn_id,
                **where,
                tool_responses=[{**response, "call_id": "another"}],
                stream=False,
            )
        stream = await turns.resume(
            turn.turn_id,
            **where,
            tool_responses=[{**response, "call_id": call.call_id}],
            stream=True,
        )
        last = [chunk.event.payload async for chunk in _chunks(stream)][-1]
        assert last.event_type == "turn_complete"
        assert last.turn.turn_id == turn.turn_id
        assert last.turn.output_message.content == "Tool said: 12C rain"
        return str(turn.turn_id)

    async def evaluations(self) -> None:
        """Dataset, benchmark, job, status, result, cancel."""
        client, evaluation = self._client, self._alpha.eval
        await client.datasets.register(
            purpose="eval/question-answer",
            source={"type": "rows", "rows": ROWS[:1]},
            dataset_id="client-rows",
        )
        await client.datasets.appendrows("client-rows", rows=ROWS[1:])
        page = await client.datasets.iterrows("client-rows", start_index=0, limit=10)
        assert page.data == ROWS
        await client.benchmarks.register(
            benchmark_id="client-bench",
            dataset_id="client-rows",
            scoring_functions=["basic::equality"],
        )
        candidate: Json = {"type": "model", "model": self._model, "sampling_params": {}}
        config: Json = {"eval_candidate": candidate, "scoring_params": {}}
        job = await evaluation.run_eval("client-bench", benchmark_config=config)
        with anyio.fail_after(60):
            while True:
                found = await evaluation.jobs.status(job.job_id, benchmark_id="client-bench")
                if found.status == "completed":
                    break
                assert found.status in ("scheduled", "in_progress")
                await anyio.lowlevel.checkpoint()
        result = await evaluation.jobs.retrieve(job.job_id, benchmark_id="client-bench")
        assert len(result.generations) == 2
        scores = [row["score"] for row in result.scores["basic::equality"].score_rows]
        assert scores == [1.0, 0.0]
        await evaluation.jobs.cancel(job.job_id, benchmark_id="client-bench")
        await client.datasets.unregister("client-rows")

    async def rerank(self, model: str) -> None:
        """Rank three texts."""
        items: Json = ["the weather in Oslo", "a test of foxes", "what foxes eat"]
        ranked = await self._alpha.inference.rerank(
            model=model, query="what do foxes eat", items=items, max_num_results=2
        )
        assert ranked[0].index == 2
        assert len(ranked) == 2

    async def training(self, model: str) -> None:
        """Jobs of both kinds, what they make, and one that is canceled."""
        pairs = [{"prompt": "two", "completion": "three", "chosen": "three", "rejected": "four"}]
        await self._client.datasets.register(
            purpose="post-training/messages",
            source={"type": "rows", "rows": pairs},
            dataset_id="client-pairs",
        )
        training = self._alpha.post_training
        rest: Json = {"hyperparam_search_config": {}, "logger_config": {}}
        await training.supervised_fine_tune(
            job_uuid="client-tuned", model=model, training_config=TRAINING, **rest
        )
        await self._trained("client-tuned", "completed")
        await training.preference_optimize(
            job_uuid="client-preferred",
            finetuned_model=model,
            algorithm_config={"beta": 0.1, "loss_type": "sigmoid"},
            training_config=TRAINING,
            **rest,
        )
        await self._trained("client-preferred", "completed")
        long = TRAINING | {"n_epochs": 100}
        await training.supervised_fine_tune(
            job_uuid="client-long", model=model, training_config=long, **rest
        )
        await training.job.cancel(job_uuid="client-long")
        await self._trained("client-long", "cancelled")
        listed = [each.job_uuid for each in await training.job.list()]
        assert listed == ["client-tuned", "client-preferred", "client-long"]
        with pytest.raises(NotFoundError):
            await training.job.status(job_uuid="never-begun")

    async def _trained(self, job: str, state: str) -> None:
        """Wait for the end of a job."""
        jobs = self._alpha.post_training.job

        async def has_ended() -> bool:
            return (await jobs.status(job_uuid=job)).completed_at is not None

        with anyio.fail_after(60):
            await until(has_ended)
        assert (await jobs.status(job_uuid=job)).status == state
        artifacts = await jobs.artifacts(job_uuid=job)
        assert artifacts.job_uuid == job
        if state == "completed":
            [checkpoint] = artifacts.checkpoints
            assert checkpoint.post_training_job_id == job


async def _chunks(stream: Any) -> AsyncIterator[Any]:
    async for chunk in stream:
        assert chunk.event is not None, chunk
        yield chunk
