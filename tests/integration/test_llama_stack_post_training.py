"""``/v1alpha/post-training``, over HTTP and by Llama Stack's client."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError

from agent.auth.noop import ANONYMOUS
from agent.caller import Caller
from agent.datasets.datasets import Datasets
from agent.errors import AgentError
from agent.settings import Settings
from agent.training.training import NOT_INSTALLED, Training
from rest_compat.callers import Callers
from rest_compat.llama_stack.post_training import make_post_training
from rest_compat.llama_stack.problems import refuse
from tests.fakes.engine import until
from tests.fakes.gates import open_gate
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.training.base import PostTrainingApi

pytestmark = pytest.mark.anyio

FAKE = Path(__file__).parents[1] / "training" / "fake_worker.py"
COMMAND = (sys.executable, "-I", "-S", str(FAKE))
HERE = "/v1alpha/post-training"
DATA = {"dataset_id": "rows", "batch_size": 1, "shuffle": False, "data_format": "instruct"}
CONFIG = {"n_epochs": 1, "data_config": DATA}
EMPTY: dict[str, Any] = {"hyperparam_search_config": {}, "logger_config": {}}


def tuning(job: str, model: str = "good", **more: Any) -> dict[str, Any]:
    """Return the body of a supervised fine-tuning."""
    return {"job_uuid": job, "training_config": CONFIG, "model": model, **EMPTY, **more}


def client_of(training: PostTrainingApi) -> httpx.AsyncClient:
    """Return a client of the routes."""
    app = FastAPI(exception_handlers={AgentError: refuse, RequestValidationError: refuse})
    app.include_router(make_post_training(training, Callers(open_gate(), Settings().limits)))
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://here")


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an engine whose workers only say that they train."""
    for name in ("good", "waiting"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text("{}")
    section = {"training": {"folder": folder / "made", "models": folder}}
    settings = Settings.model_validate({"experimental": section})
    async with open_database("sqlite://") as database:
        datasets = Datasets(database, settings)
        rows = [{"prompt": "a", "completion": "b", "chosen": "c", "rejected": "d"}]
        source = {"type": "rows", "rows": rows}
        anonymous = Caller(owner=ANONYMOUS)
        await datasets.register(anonymous, purpose="x", source=source, dataset_id="rows")
        training = Training(database, settings, datasets, command=COMMAND)
        await training.open()
        try:
            async with client_of(training) as client:
                yield client
        finally:
            await training.close()


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of a server that all tests share."""
    async with opened(tmp_path_factory.mktemp("training")) as client:
        yield client


async def ended(client: httpx.AsyncClient, job: str) -> Any:
    """Return the status of a job that has ended."""

    async def status() -> Any:
        answer = await client.get(f"{HERE}/job/status", params={"job_uuid": job})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def has_ended() -> bool:
        return (await status())["completed_at"] is not None

    with anyio.fail_after(10):
        await until(has_ended)
    return await status()


def errors_of(answer: httpx.Response) -> Any:
    """Return which fields are wrong, and how."""
    assert answer.status_code == 400
    return [(each["loc"], each["type"]) for each in answer.json()["error"]["detail"]["errors"]]


async def test_a_job_is_begun_followed_and_listed(client: httpx.AsyncClient) -> None:
    """In Llama Stack's words; an id is any text."""
    job = "a job/9 \u00fc"
    answer = await client.post(f"{HERE}/supervised-fine-tune", json=tuning(job))
    assert (answer.status_code, answer.json()) == (200, {"job_uuid": job})
    status = await ended(client, job)
    assert list(status) == [
        "job_uuid",
        "status",
        "scheduled_at",
        "started_at",
        "completed_at",
        "resources_allocated",
        "checkpoints",
    ]
    assert status["status"] == "completed"
    answer = await client.get(f"{HERE}/job/artifacts", params={"job_uuid": job})
    assert answer.json() == {"job_uuid": job, "checkpoints": status["checkpoints"]}
    assert {"job_uuid": job} in (await client.get(f"{HERE}/jobs")).json()["data"]


async def test_preferences_are_trained(client: httpx.AsyncClient) -> None:
    """By pairs of answers."""
    wanted = {"beta": 0.1, "loss_type": "sigmoid"}
    body = tuning("aligned", finetuned_model="good", algorithm_config=wanted)
    answer = await client.post(f"{HERE}/preference-optimize", json=body)
    assert answer.json() == {"job_uuid": "aligned"}
    assert (await ended(client, "aligned"))["status"] == "completed"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("supervised-fine-tune", CONFIG | {"model": "good"}),
        (
            "preference-optimize",
            {"beta": 0.1, "training_config": CONFIG, "finetuned_model": "good"},
        ),
    ],
)
async def test_the_older_specifications_bodies_are_understood(
    client: httpx.AsyncClient, path: str, body: Any
) -> None:
    """What they have no place for stands beside; an id is made up."""
    answer = await client.post(f"{HERE}/{path}?args=1&kwargs=2", json=body)
    assert answer.status_code == 200, answer.text
    await ended(client, answer.json()["job_uuid"])


@pytest.mark.parametrize(
    ("path", "body", "missing"),
    [
        (
            "supervised-fine-tune",
            {"job_uuid": "job-3"},
            ["training_config", "hyperparam_search_config", "logger_config"],
        ),
        ("preference-optimize", {"beta": 1}, ["training_config", "finetuned_model"]),
        ("job/cancel", {}, ["job_uuid"]),
        ("job/cancel", None, ["job_uuid"]),
    ],
)
async def test_what_is_missing_is_told(
    client: httpx.AsyncClient, path: str, body: Any, missing: list[str]
) -> None:
    """As Llama Stack tells it."""
    answer = await client.post(f"{HERE}/{path}", json=body)
    assert errors_of(answer) == [(["body", name], "missing") for name in missing]


@pytest.mark.parametrize("path", ["status", "artifacts"])
async def test_a_job_must_be_named(client: httpx.AsyncClient, path: str) -> None:
    """By something that may be a name; one that is not there is not found."""
    answer = await client.get(f"{HERE}/job/{path}")
    assert errors_of(answer) == [(["query", "job_uuid"], "missing")]
    answer = await client.get(f"{HERE}/job/{path}", params={"job_uuid": "a\x00"})
    assert errors_of(answer) == [(["query", "job_uuid"], "string_pattern_mismatch")]
    answer = await client.get(f"{HERE}/job/{path}", params={"job_uuid": "nope"})
    assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")


async def test_a_request_that_cannot_be_served_says_why(client: httpx.AsyncClient) -> None:
    """A job that exists, a model and a dataset that do not, an algorithm that nobody has here."""
    path = f"{HERE}/supervised-fine-tune"
    await client.post(path, json=tuning("twice"))
    qat = {"type": "QAT", "quantizer_name": "q", "group_size": 1}
    no_data = CONFIG | {"data_config": DATA | {"dataset_id": "none"}}
    for body, status, said in (
        (tuning("twice"), 400, "already exists"),
        (tuning("new", "none"), 404, "Model with ID none"),
        (tuning("new", training_config=no_data), 404, "Dataset with ID none"),
        (tuning("new", training_config={"n_epochs": 1}), 400, "training_config.data_config"),
        (tuning("new", algorithm_config=qat), 400, "QAT"),
    ):
        answer = await client.post(path, json=body)
        assert answer.status_code == status
        assert said in answer.json()["detail"]


@pytest.mark.parametrize("is_in_query", [True, False])
async def test_a_job_is_canceled(client: httpx.AsyncClient, is_in_query: bool) -> None:
    """By an id in the body, or in the query; nothing is answered."""
    named = {"job_uuid": f"canceled-{is_in_query}"}
    await client.post(f"{HERE}/supervised-fine-tune", json=tuning(named["job_uuid"], "waiting"))
    given: Any = {"params": named} if is_in_query else {"json": named}
    answer = await client.post(f"{HERE}/job/cancel", **given)
    assert (answer.status_code, answer.json()) == (200, None)
    assert (await ended(client, named["job_uuid"]))["status"] == "cancelled"
    answer = await client.post(f"{HERE}/job/cancel", json={"job_uuid": "nope"})
    assert answer.status_code == 404


async def test_llama_stacks_client_goes_the_whole_way(client: httpx.AsyncClient) -> None:
    """Its own types fit what is answered."""
    from llama_stack_client import AsyncLlamaStackClient

    calls = AsyncLlamaStackClient(base_url="http://here", http_client=client).alpha.post_training
    config: Any = {
        "n_epochs": 1,
        "max_steps_per_epoch": 1,
        "gradient_accumulation_steps": 1,
        "data_config": DATA,
    }
    job = await calls.supervised_fine_tune(
        job_uuid="by-client",
        model="good",
        training_config=config,
        hyperparam_search_config={},
        logger_config={},
    )
    await ended(client, job.job_uuid)
    status = await calls.job.status(job_uuid="by-client")
    assert status is not None
    assert (status.status, len(status.checkpoints)) == ("completed", 2)
    assert [each.epoch for each in status.checkpoints] == [1, 2]
    artifacts = await calls.job.artifacts(job_uuid="by-client")
    paths = [each.path for each in status.checkpoints]
    assert [each.path for each in artifacts.checkpoints] == paths
    assert any(each.job_uuid == "by-client" for each in await calls.job.list())


async def test_without_the_extra_the_answer_names_it() -> None:
    """501, once the request is one."""
    settings = Settings()
    async with open_database("sqlite://") as database:
        datasets = Datasets(database, settings)
        training = Training(database, settings, datasets, command=())
        async with client_of(training) as client:
            answer = await client.post(f"{HERE}/supervised-fine-tune", json=tuning("job"))
            assert (answer.status_code, answer.json()["detail"]) == (501, NOT_INSTALLED)
            answer = await client.post(f"{HERE}/supervised-fine-tune", json={})
            assert answer.status_code == 400
            assert (await client.get(f"{HERE}/jobs")).json() == {"data": []}
