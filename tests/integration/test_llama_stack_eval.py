"""The nine operations of the eval API, as their clients see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError

from agent.auth.rh_identity import RhIdentity
from agent.errors import AgentError
from agent.evaluation.evaluation import CALL_ROWS, Evaluation
from agent.inferences import Inferences
from agent.settings.own import Limits
from rest_compat.callers import Callers
from rest_compat.llama_stack.eval import make_eval
from rest_compat.llama_stack.problems import refuse
from tests.fakes.engine import until
from tests.fakes.evaluated import (
    AGENT,
    CANDIDATE,
    CONFIG,
    EchoAgents,
    ModelStack,
    RowsOfDatasets,
    memory,
    row,
)
from tests.fakes.gates import open_gate
from tests.fakes.identities import user
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

HELD = "never answered"
EQUALITY = "basic::equality"
BENCHMARKS = "/v1alpha/eval/benchmarks"
BM = {"benchmark_id": "bm", "dataset_id": "ds", "scoring_functions": [EQUALITY]}
WIRE = {
    "identifier": "bm",
    "provider_resource_id": "bm",
    "provider_id": "llamastack-a2a",
    "type": "benchmark",
    "dataset_id": "ds",
    "scoring_functions": [EQUALITY],
    "metadata": {},
}


@pytest.fixture(scope="module")
async def app() -> AsyncIterator[FastAPI]:
    """Return the routes over models and agents that say what they hear, with jobs that run."""
    held = {"input_query": HELD, "expected_answer": "x"}
    datasets = RowsOfDatasets(ds=[row(number) for number in range(3)], held=[held])
    stack, settings = ModelStack(holding=frozenset({HELD})), memory()
    agents: Any = EchoAgents()
    async with open_database("sqlite://") as database:
        inferences = Inferences(stack, settings.limits, None)
        evaluation = Evaluation(database, settings, datasets, agents, inferences, stack)
        made = FastAPI(exception_handlers={AgentError: refuse, RequestValidationError: refuse})
        made.include_router(make_eval(evaluation, Callers(open_gate(RhIdentity()), Limits())))
        await evaluation.open()
        yield made
        await evaluation.close()


def client(app: FastAPI, name: str) -> httpx.AsyncClient:
    """Return a client of a user."""
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=user(name))


@pytest.fixture
async def http(app: FastAPI, request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of a user that no other test is, who has a benchmark "bm"."""
    async with client(app, request.node.name) as opened:
        registered = await opened.post(BENCHMARKS, json=BM)
        assert (registered.status_code, registered.json()) == (200, None)
        yield opened


async def ended(http: httpx.AsyncClient, path: str) -> str:
    """Return the status of a job that has ended."""
    status = ""

    async def is_over() -> bool:
        nonlocal status
        status = (await http.get(path)).json()["status"]
        return status not in {"scheduled", "in_progress"}

    with anyio.fail_after(20):
        await until(is_over)
    return status


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and what went wrong."""
    told = answer.json()
    assert told["status"] == answer.status_code
    return answer.status_code, told["detail"]


async def test_benchmarks_are_registered_listed_described_and_unregistered(
    http: httpx.AsyncClient,
) -> None:
    other = BM | {"benchmark_id": "a/b", "metadata": {"x": 1}, "provider_benchmark_id": "p"}
    assert (await http.post(BENCHMARKS, json=other)).json() is None
    named = WIRE | {"identifier": "a/b", "metadata": {"x": 1}, "provider_resource_id": "p"}
    assert (await http.get(BENCHMARKS)).json() == {"data": [WIRE, named]}
    assert (await http.get(f"{BENCHMARKS}/a/b")).json() == named

    assert (await http.post(BENCHMARKS, json=BM)).json() is None
    status, detail = problem(await http.post(BENCHMARKS, json=BM | {"dataset_id": "else"}))
    assert (status, "'bm' already exists" in detail) == (400, True)
    for _ in range(2):
        gone = await http.delete(f"{BENCHMARKS}/a/b", params={"args": "", "kwargs": ""})
        assert (gone.status_code, gone.content) == (204, b"")
    assert (await http.get(BENCHMARKS)).json() == {"data": [WIRE]}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (None, [["body"]]),
        ({"benchmark_id": "x"}, [["body", "dataset_id"], ["body", "scoring_functions"]]),
        (BM | {"benchmark_id": "a\0b"}, [["body", "benchmark_id"]]),
        (BM | {"benchmark_id": "a/jobs/b"}, [["body", "benchmark_id"]]),
        (BM | {"scoring_functions": ["f"] * 101}, [["body", "scoring_functions"]]),
    ],
)
async def test_a_benchmark_that_is_none_is_refused_by_its_fields(
    http: httpx.AsyncClient, body: Any, fields: list[list[str]]
) -> None:
    answer = await http.post(BENCHMARKS, params={"args": "", "kwargs": ""}, json=body)
    told = answer.json()["error"]["detail"]["errors"]
    assert (answer.status_code, [each["loc"] for each in told]) == (400, fields)


@pytest.mark.parametrize("config", [CONFIG, AGENT])
@pytest.mark.parametrize("is_wrapped", [True, False])
async def test_a_job_is_begun_followed_and_read(
    http: httpx.AsyncClient, config: dict[str, Any], *, is_wrapped: bool
) -> None:
    body = {"benchmark_config": config} if is_wrapped else config
    begun = await http.post(f"{BENCHMARKS}/bm/jobs", json=body)
    assert (begun.status_code, set(begun.json())) == (200, {"job_id", "status"})
    job = f"{BENCHMARKS}/bm/jobs/{begun.json()['job_id']}"
    assert await ended(http, job) == "completed"

    got = (await http.get(f"{job}/result")).json()
    assert [each["generated_answer"] for each in got["generations"]] == [
        "Echo: q0",
        "Echo: q1",
        "Echo: q2",
    ]
    accuracy = {"accuracy": 1.0, "num_correct": 3.0, "num_total": 3}
    score = {"score_rows": [{"score": 1.0}] * 3, "aggregated_results": {"accuracy": accuracy}}
    assert got["scores"] == {EQUALITY: score}
    assert (await http.delete(job)).status_code == 204
    assert await ended(http, job) == "completed"


async def test_a_job_that_runs_is_canceled(http: httpx.AsyncClient) -> None:
    held = BM | {"benchmark_id": "held", "dataset_id": "held"}
    await http.post(BENCHMARKS, json=held)
    begun = await http.post(f"{BENCHMARKS}/held/jobs", json=CONFIG)
    job = f"{BENCHMARKS}/held/jobs/{begun.json()['job_id']}"
    status, detail = problem(await http.get(f"{job}/result"))
    assert (status, "not completed" in detail) == (400, True)

    canceled = await http.delete(job)
    assert (canceled.status_code, canceled.content) == (204, b"")
    assert await ended(http, job) == "cancelled"


async def test_rows_are_evaluated_while_the_caller_waits(http: httpx.AsyncClient) -> None:
    body = {
        "input_rows": [row(0), row(1, expected_answer="else")],
        "scoring_functions": [EQUALITY],
        "benchmark_config": CONFIG | {"scoring_params": {}},
    }
    got = (await http.post(f"{BENCHMARKS}/bm/evaluations", json=body)).json()
    assert [each["score"] for each in got["scores"][EQUALITY]["score_rows"]] == [1.0, 0.0]
    bare = await http.post(f"{BENCHMARKS}/bm/evaluations", json=CONFIG | {"num_examples": 2})
    assert len(bare.json()["generations"]) == 2
    none = await http.post(f"{BENCHMARKS}/bm/evaluations", json=body | {"input_rows": []})
    assert (none.status_code, none.json()["generations"]) == (200, [])


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"input_rows": [{"a": 1}]}, 400, "input_rows[0]"),
        ({"scoring_functions": ["nope::x"]}, 400, "nope::x"),
        (
            {"benchmark_config": {"eval_candidate": CANDIDATE | {"model": "no/such"}}},
            404,
            "no/such",
        ),
    ],
)
async def test_what_cannot_be_evaluated_is_refused_in_words(
    http: httpx.AsyncClient, change: dict[str, Any], status: int, words: str
) -> None:
    body = {"input_rows": [], "scoring_functions": [], "benchmark_config": CONFIG}
    answer = await http.post(f"{BENCHMARKS}/bm/evaluations", json=body | change)
    told, detail = problem(answer)
    assert (told, words in detail) == (status, True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"benchmark_config": {"eval_candidate": {"type": "nope"}}}, "eval_candidate"),
        ({"eval_candidate": {"type": "agent", "config": {}}}, "model"),
        ({}, "benchmark_config"),
        (
            {"benchmark_config": CONFIG, "input_rows": [{}] * (CALL_ROWS + 1)},
            "input_rows",
        ),
        (CONFIG | {"num_examples": -2}, "num_examples"),
    ],
)
async def test_a_configuration_that_is_none_is_refused_by_its_fields(
    http: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    answer = await http.post(f"{BENCHMARKS}/bm/evaluations", json=body)
    told = answer.json()["error"]["detail"]["errors"]
    assert (answer.status_code, field in told[0]["loc"]) == (400, True)


async def test_what_is_another_s_is_not_there(app: FastAPI, http: httpx.AsyncClient) -> None:
    begun = (await http.post(f"{BENCHMARKS}/bm/jobs", json=CONFIG)).json()
    job = f"/bm/jobs/{begun['job_id']}"
    async with client(app, "stranger") as other:
        for path in ("/bm", job, f"{job}/result"):
            status, detail = problem(await other.get(BENCHMARKS + path))
            assert (status, "does not exist" in detail) == (404, True)
        assert (await other.delete(BENCHMARKS + job)).status_code == 404
        assert (await other.post(f"{BENCHMARKS}/bm/jobs", json=CONFIG)).status_code == 404
        assert (await other.get(BENCHMARKS)).json() == {"data": []}
    elsewhere = f"{BENCHMARKS}/other/jobs/{begun['job_id']}"
    assert (await http.get(elsewhere)).status_code == 404
    assert await ended(http, BENCHMARKS + job) == "completed"


async def test_the_client_of_llama_stack_reads_the_answers(http: httpx.AsyncClient) -> None:
    from llama_stack_client import AsyncLlamaStackClient

    stack = AsyncLlamaStackClient(base_url="http://test", http_client=http)
    assert [each.identifier for each in await stack.benchmarks.list()] == ["bm"]
    config: Any = CONFIG | {"scoring_params": {}}
    begun = await stack.alpha.eval.run_eval("bm", benchmark_config=config)
    assert await ended(http, f"{BENCHMARKS}/bm/jobs/{begun.job_id}") == "completed"
    got = await stack.alpha.eval.jobs.retrieve(begun.job_id, benchmark_id="bm")
    assert got.generations[0] == {"generated_answer": "Echo: q0"}
    await stack.alpha.eval.jobs.cancel(begun.job_id, benchmark_id="bm")


def test_the_document_names_what_the_specification_does(app: FastAPI) -> None:
    document = app.openapi()
    assert set(document["paths"]) == {
        BENCHMARKS,
        f"{BENCHMARKS}/{{benchmark_id}}",
        f"{BENCHMARKS}/{{benchmark_id}}/evaluations",
        f"{BENCHMARKS}/{{benchmark_id}}/jobs",
        f"{BENCHMARKS}/{{benchmark_id}}/jobs/{{job_id}}",
        f"{BENCHMARKS}/{{benchmark_id}}/jobs/{{job_id}}/result",
    }
    assert {"Benchmark", "BenchmarkConfig", "EvaluateResponse", "Job", "ScoringResult"} <= set(
        document["components"]["schemas"]
    )
