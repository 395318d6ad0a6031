"""A walk through all operations of the experimental API, in one of the two shapes of its requests.

The specification of the 34 operations writes bodies without their wrappers, lists as single values, and has
query parameters ``args`` and ``kwargs``; real servers and clients do not. Both are to work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

from tests.contract.llama_stack_bodies import BENCHMARK, CONFIG, MODEL, ROWS, TRAINING
from tests.contract.llama_stack_operations import OPERATIONS
from tests.contract.shapes import events_of
from tests.fakes.engine import until

if TYPE_CHECKING:
    import httpx

type Json = Any


class Answered(NamedTuple):
    """An operation, and what it answered."""

    operation: str
    answer: httpx.Response


class Walk:
    """Makes the calls, and keeps the answers. ``seed`` says which of the two shapes."""

    def __init__(self, http: httpx.AsyncClient, *, seed: bool) -> None:
        self._http = http
        self._seed = seed
        self.answers: list[Answered] = []

    async def run(self) -> list[Answered]:
        """Walk."""
        await self._agents()
        await self._datasets()
        await self._evaluations()
        await self._rerank()
        await self._training()
        await self._ends()
        return self.answers

    async def _call(
        self, operation: str, body: Json = None, *, wanted: int = 200, **more: Json
    ) -> Json:
        """Ask; ``more`` are the ids in the path, and the query."""
        assert operation in OPERATIONS
        method, _, path = operation.partition(" ")
        query = {key: value for key, value in more.items() if f"{{{key}}}" not in path}
        if self._seed and body is None and method != "GET":
            query |= {"args": "", "kwargs": ""}
        answer = await self._http.request(
            method, path.format_map(more), json=body, params=query, timeout=20
        )
        self.answers.append(Answered(operation, answer))
        assert answer.status_code == wanted, f"{operation}: {answer.status_code} {answer.text}"
        return (
            answer.json() if answer.content and "json" in answer.headers["content-type"] else None
        )

    def _either(self, real: Json, seed: Json) -> Json:
        return seed if self._seed else real

    async def _agents(self) -> None:
        made = await self._call(
            "POST /v1alpha/agents", self._either({"agent_config": CONFIG}, CONFIG)
        )
        self._agent: dict[str, Json] = {"agent_id": made["agent_id"]}
        await self._call("GET /v1alpha/agents", start_index=0, limit=10)
        await self._call("GET /v1alpha/agents/{agent_id}", **self._agent)
        begun = await self._call(
            "POST /v1alpha/agents/{agent_id}/session",
            {"session_name": "walk"} | self._either({}, self._agent),
            **self._agent,
        )
        self._session = self._agent | {"session_id": begun["session_id"]}
        await self._call("GET /v1alpha/agents/{agent_id}/sessions", **self._agent)
        await self._turns()

    async def _turns(self) -> None:
        first = await self._turn("hello there", stream=False)
        assert first["output_message"]["content"].startswith("Echo: hello there")
        place = self._session | {"turn_id": first["turn_id"]}
        path = "/v1alpha/agents/{agent_id}/session/{session_id}"
        assert await self._call(f"GET {path}/turn/{{turn_id}}", **place) == first
        step_id = first["steps"][0]["step_id"]
        step = await self._call(
            f"GET {path}/turn/{{turn_id}}/step/{{step_id}}", **place, step_id=step_id
        )
        assert step == {"step": first["steps"][0]}
        waiting = await self._turn('CALL get_weather {"city": "Oslo"}', stream=True)
        [call] = waiting["output_message"]["tool_calls"]
        response = {"call_id": call["call_id"], "tool_name": "get_weather", "content": "12C"}
        resumed = self._session | {"turn_id": waiting["turn_id"]}
        await self._call(
            f"POST {path}/turn/{{turn_id}}/resume",
            self._either({"tool_responses": [response]}, resumed | {"tool_responses": response})
            | {"stream": True},
            **resumed,
        )
        answer = self._last("turn_complete")
        assert answer["output_message"]["content"] == "Tool said: 12C"
        session = await self._call(f"GET {path}", **self._session)
        assert [turn["turn_id"] for turn in session["turns"]] == [
            first["turn_id"],
            waiting["turn_id"],
        ]

    async def _turn(self, text: str, *, stream: bool) -> Json:
        message = {"role": "user", "content": text}
        document = {"content": "A note.", "mime_type": "text/plain"}
        body = self._either(
            {"messages": [message]},
            self._session
            | {
                "messages": message,
                "documents": document,
                "toolgroups": "builtin::rag/knowledge_search",
                "tool_config": {"tool_choice": "auto"},
            },
        )
        turn = await self._call(
            "POST /v1alpha/agents/{agent_id}/session/{session_id}/turn",
            body | {"stream": stream},
            **self._session,
        )
        return self._last("turn_awaiting_input") if stream else turn

    def _last(self, kind: str) -> Json:
        """Return the turn that the stream has ended with."""
        payload = events_of(self.answers[-1].answer.text)[-1]["event"]["payload"]
        assert payload["event_type"] == kind
        return payload["turn"]

    async def _datasets(self) -> None:
        named = {"purpose": "eval/question-answer", "dataset_id": "walked"}
        source = {"type": "rows", "rows": ROWS[:1]}
        await self._call(
            "POST /v1beta/datasets",
            named | self._either({"source": source, "metadata": {"a": 1}}, {"metadata": "{}"}),
        )
        rows = ROWS[1:] if not self._seed else ROWS
        await self._call(
            "POST /v1beta/datasetio/append-rows/{dataset_id}", {"rows": rows}, dataset_id="walked"
        )
        await self._call("GET /v1beta/datasets")
        await self._call("GET /v1beta/datasets/{dataset_id}", dataset_id="walked")
        page = await self._call(
            "GET /v1beta/datasetio/iterrows/{dataset_id}",
            dataset_id="walked",
            start_index=0,
            limit=100,
        )
        assert page["data"] == ROWS

    async def _evaluations(self) -> None:
        functions = ["basic::equality", "basic::subset_of"]
        benchmark = {"benchmark_id": "bench", "dataset_id": "walked"}
        await self._call(
            "POST /v1alpha/eval/benchmarks", benchmark | {"scoring_functions": functions}
        )
        await self._call("GET /v1alpha/eval/benchmarks")
        one: dict[str, Json] = {"benchmark_id": "bench"}
        await self._call("GET /v1alpha/eval/benchmarks/{benchmark_id}", **one)
        wrapped = {"benchmark_config": BENCHMARK}
        more = {"input_rows": ROWS, "scoring_functions": functions}
        await self._call(
            "POST /v1alpha/eval/benchmarks/{benchmark_id}/evaluations",
            self._either(wrapped | more, BENCHMARK),
            **one,
        )
        job = await self._call(
            "POST /v1alpha/eval/benchmarks/{benchmark_id}/jobs",
            self._either(wrapped, BENCHMARK),
            **one,
        )
        place = one | {"job_id": job["job_id"]}
        path = "/v1alpha/eval/benchmarks/{benchmark_id}/jobs/{job_id}"
        with anyio.fail_after(20):
            while (await self._call(f"GET {path}", **place))["status"] != "completed":
                await anyio.lowlevel.checkpoint()
        result = await self._call(f"GET {path}/result", **place)
        assert len(result["generations"]) == 2
        await self._call(f"DELETE {path}", wanted=204, **place)

    async def _rerank(self) -> None:
        items = ["the weather in Oslo", "a test of foxes", "what foxes eat"]
        body = {"model": MODEL, "query": "foxes eat what"}
        ranked = await self._call(
            "POST /v1alpha/inference/rerank",
            body | self._either({"items": items}, {"items": items[2], "max_num_results": 1}),
        )
        assert ranked["data"][0]["index"] == self._either(2, 0)

    async def _training(self) -> None:
        job = {"hyperparam_search_config": {}, "logger_config": {}, "training_config": TRAINING}
        tuned = job | {"job_uuid": "walk-tuned", "model": "tiny"}
        done = await self._trained("supervised-fine-tune", self._either(tuned, TRAINING))
        assert [each["epoch"] for each in done["checkpoints"]] == [1]
        preferences = {"beta": 0.1, "loss_type": "sigmoid"}
        aligned = job | {"job_uuid": "walk-aligned", "finetuned_model": "tiny"}
        beside = {"training_config": TRAINING, "finetuned_model": "tiny"}
        real = aligned | {"algorithm_config": preferences}
        await self._trained("preference-optimize", self._either(real, preferences | beside))
        # By itself it says neither what to train nor with what.
        begin = "POST /v1alpha/post-training/preference-optimize"
        await self._call(begin, preferences, wanted=400)
        await self._canceled(TRAINING | {"n_epochs": 100}, job)
        listed = await self._call("GET /v1alpha/post-training/jobs")
        assert done["job_uuid"] in [each["job_uuid"] for each in listed["data"]]
        for what in ("status", "artifacts"):
            operation = f"GET /v1alpha/post-training/job/{what}"
            await self._call(operation, wanted=404, job_uuid="nope")

    async def _trained(self, how: str, body: Json) -> Json:
        """Begin a job; returns its status once it has ended."""
        begun = await self._call(f"POST /v1alpha/post-training/{how}", body)
        done = await self._ended(begun)
        assert done["status"] == "completed", done
        artifacts = await self._call("GET /v1alpha/post-training/job/artifacts", **begun)
        assert artifacts == begun | {"checkpoints": done["checkpoints"]}
        return done

    async def _canceled(self, config: Json, job: Json) -> None:
        """Cancel a job that does not end by itself."""
        real = job | {"job_uuid": "walk-long", "training_config": config, "model": "tiny"}
        begun = await self._call(
            "POST /v1alpha/post-training/supervised-fine-tune", self._either(real, config)
        )
        for named, wanted in ((begun, 200), ({"job_uuid": "nope"}, 404)):
            await self._call(
                "POST /v1alpha/post-training/job/cancel",
                self._either(named, None),
                wanted=wanted,
                **self._either({}, named),
            )
        done = await self._ended(begun)
        assert done["status"] == "cancelled", done

    async def _ended(self, job: Json) -> Json:
        """Return the status of a job that has ended."""
        status: Json = {}

        async def has_ended() -> bool:
            status.update(await self._call("GET /v1alpha/post-training/job/status", **job))
            return status["completed_at"] is not None

        with anyio.fail_after(20):
            await until(has_ended)
        return status

    async def _ends(self) -> None:
        """Delete everything, twice: the second time it is deleted already."""
        for _ in range(2):
            for operation, place in (
                ("DELETE /v1alpha/eval/benchmarks/{benchmark_id}", {"benchmark_id": "bench"}),
                ("DELETE /v1beta/datasets/{dataset_id}", {"dataset_id": "walked"}),
                ("DELETE /v1alpha/agents/{agent_id}/session/{session_id}", self._session),
                ("DELETE /v1alpha/agents/{agent_id}", self._agent),
            ):
                await self._call(operation, wanted=204, **place)
