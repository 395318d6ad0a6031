"""``/v1beta/datasets`` and ``/v1beta/datasetio`` over HTTP, in Llama Stack's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.middleware import Middleware

from agent.auth.access import Access
from agent.auth.attempts import Attempts
from agent.auth.gate import Gate
from agent.auth.noop import Noop
from agent.datasets.datasets import PROVIDER, Datasets
from agent.errors import AgentError
from agent.settings import Settings
from agent.settings.access import AccessRule
from rest_compat.callers import Callers
from rest_compat.llama_stack.datasets import make_datasets
from rest_compat.llama_stack.problems import refuse
from rest_compat.slashes import Forgiving
from tests.fakes.gates import open_gate
from tests.fakes.server import run_server
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

RECORDED = (
    Path(__file__).parents[3] / "shared/recordings/llama_stack/v0.3.5_datasets_eval_posttraining"
)
JSON = {"Content-Type": "application/json"}
ITERROWS = "/v1beta/datasetio/iterrows/{dataset_id:path}"
ROWS = [{"q": f"q{n}", "a": f"a{n}"} for n in range(5)]
SOURCE = {"type": "rows", "rows": ROWS}
ASKED = {"purpose": "eval/question-answer", "source": SOURCE, "metadata": {"k": "v"}}


def app_of(datasets: Datasets, gate: Gate) -> FastAPI:
    """Return an application that has the datasets alone."""
    app = FastAPI(
        middleware=[Middleware(Forgiving)],
        exception_handlers={AgentError: refuse, RequestValidationError: refuse},
    )
    app.include_router(make_datasets(datasets, Callers(gate, Settings().limits)))
    return app


@pytest.fixture(scope="module")
async def datasets() -> AsyncIterator[Datasets]:
    async with open_database("sqlite://") as database:
        made = Datasets(database, Settings())
        yield made
        await made.close()


@pytest.fixture(scope="module")
async def served(datasets: Datasets) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        run_server(app_of(datasets, open_gate())) as url,
        httpx.AsyncClient(base_url=url, timeout=5) as client,
    ):
        yield client


@pytest.fixture
async def client(served: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client; datasets are gone afterwards."""
    yield served
    for dataset in (await served.get("/v1beta/datasets")).json()["data"]:
        await served.delete(f"/v1beta/datasets/{quote(dataset['identifier'])}")


async def register(client: httpx.AsyncClient, dataset_id: str = "d", **given: Any) -> Any:
    """Register a dataset."""
    body = ASKED | {"dataset_id": dataset_id} | given
    response = await client.post("/v1beta/datasets", json=body)
    assert response.status_code == 200
    return response.json()


def shown(dataset_id: str) -> dict[str, Any]:
    """Return a dataset as it is answered."""
    return {
        "identifier": dataset_id,
        "provider_resource_id": dataset_id,
        "provider_id": PROVIDER,
        "type": "dataset",
        **ASKED,
    }


async def test_a_dataset_is_registered_read_and_deleted(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1beta/datasets")).json() == {"data": []}
    for dataset_id in ("d", "org/d e?"):
        path = dataset_id.replace("?", "%3F")
        assert await register(client, dataset_id) == shown(dataset_id)
        assert await register(client, dataset_id) == shown(dataset_id)
        assert (await client.get(f"/v1beta/datasets/{path}")).json() == shown(dataset_id)
        page = await client.get(f"/v1beta/datasetio/iterrows/{path}?start_index=1&limit=2")
        assert page.json() == {"data": ROWS[1:3], "has_more": True, "url": ITERROWS}
    listed = (await client.get("/v1beta/datasets")).json()
    assert listed == {"data": [shown("d"), shown("org/d e?")]}
    for _ in range(2):
        deleted = await client.delete("/v1beta/datasets/d")
        assert (deleted.status_code, deleted.content) == (204, b"")
    gone = await client.get("/v1beta/datasets/d")
    assert gone.status_code == 404
    assert gone.json() == {
        "status": 404,
        "title": "Not Found",
        "detail": "Dataset with ID d does not exist",
    }


async def test_an_id_is_made_when_none_is_given(client: httpx.AsyncClient) -> None:
    made = await register(client, dataset_id=None)  # type: ignore[arg-type] # it may be null
    assert made["identifier"].startswith("dataset-")


@pytest.mark.parametrize("body", [{"rows": [{"n": 1}]}, [{"n": 1}]])
async def test_rows_are_appended(client: httpx.AsyncClient, body: Any) -> None:
    await register(client)
    added = await client.post("/v1beta/datasetio/append-rows/d", json=body)
    assert (added.status_code, added.json()) == (200, None)
    page = await client.get("/v1beta/datasetio/iterrows/d", params={"limit": -1})
    assert page.json() == {"data": [*ROWS, {"n": 1}], "has_more": False, "url": ITERROWS}


async def test_nothing_is_appended_without_a_body(client: httpx.AsyncClient) -> None:
    """As in descriptions of the API that have none."""
    await register(client)
    path = "/v1beta/datasetio/append-rows/{}?args=1&kwargs=2"
    assert (await client.post(path.format("d"))).json() is None
    assert (await client.post(path.format("none"))).status_code == 404
    assert (await client.get("/v1beta/datasetio/iterrows/d")).json()["data"] == ROWS


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [("", {}), ('{"k": 1}', {"k": 1}), ("a text", {"description": "a text"})],
)
async def test_a_dataset_without_a_source_is_empty(
    client: httpx.AsyncClient, metadata: str, expected: dict[str, Any]
) -> None:
    """As in descriptions of the API where datasets have none."""
    body = {"purpose": "eval/messages-answer", "metadata": metadata, "dataset_id": "d"}
    made = (await client.post("/v1beta/datasets", json=body)).json()
    assert made["source"] == {"type": "rows", "rows": []}
    assert made["metadata"] == expected
    page = (await client.get("/v1beta/datasetio/iterrows/d")).json()
    assert page == {"data": [], "has_more": False, "url": ITERROWS}


@pytest.mark.parametrize(
    ("change", "loc", "kind"),
    [
        ({"source": None}, ["body", "source"], "missing"),
        ({"purpose": "nope"}, ["body", "purpose"], "enum"),
        ({"source": {"type": "nope"}}, ["body", "source"], "union_tag_invalid"),
        ({"source": {"type": "uri"}}, ["body", "source", "uri", "uri"], "missing"),
        (
            {"source": {"type": "rows", "rows": [1]}},
            ["body", "source", "rows", "rows", 0],
            "dict_type",
        ),
    ],
)
async def test_wrong_fields_are_named(
    client: httpx.AsyncClient, change: dict[str, Any], loc: list[Any], kind: str
) -> None:
    response = await client.post("/v1beta/datasets", json=ASKED | change)
    assert response.status_code == 400
    (error,) = response.json()["error"]["detail"]["errors"]
    assert (error["loc"], error["type"]) == (loc, kind)


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"metadata": {}}, 400, "'d' already exists; unregister it first"),
        ({"dataset_id": "a\n"}, 400, "dataset_id"),
        ({"source": {"type": "uri", "uri": "huggingface://x"}}, 400, "already exists"),
        (
            {"source": {"type": "uri", "uri": "huggingface://x"}, "dataset_id": "e"},
            400,
            "must begin with data:, http://, https:// or file://",
        ),
        ({"source": {"type": "uri", "uri": "http://127.0.0.1/"}, "dataset_id": "e"}, 400, "public"),
        ({"metadata": {"k": "x" * 70_000}, "dataset_id": "e"}, 413, "metadata"),
        ({"source": {"type": "rows", "rows": [{"a": "x" * 1_050_000}]}}, 413, "Row 0"),
    ],
)
async def test_what_cannot_be_registered_is_refused(
    client: httpx.AsyncClient, change: dict[str, Any], status: int, text: str
) -> None:
    await register(client)
    response = await client.post("/v1beta/datasets", json=ASKED | {"dataset_id": "d"} | change)
    assert response.status_code == status
    assert text in response.json()["detail"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("none", 404),
        ("d?start_index=-1", 400),
        ("d?limit=-2", 400),
        ("d?limit=x", 400),
        ("d?start_index=99999999999999999999999", 200),
        ("a%00b", 404),
        ("x" * 300, 404),
    ],
)
async def test_what_cannot_be_read_is_refused(
    client: httpx.AsyncClient, path: str, status: int
) -> None:
    await register(client)
    response = await client.get(f"/v1beta/datasetio/iterrows/{path}")
    assert response.status_code == status


@pytest.mark.parametrize("body", [{}, {"rows": None}, {"rows": [1]}, [1], "text", {"rows": {}}])
async def test_what_is_no_row_is_not_appended(client: httpx.AsyncClient, body: Any) -> None:
    await register(client)
    response = await client.post("/v1beta/datasetio/append-rows/d", json=body)
    assert response.status_code == 400
    assert (await client.get("/v1beta/datasetio/iterrows/d")).json()["data"] == ROWS


async def test_a_long_answer_comes_in_parts(client: httpx.AsyncClient) -> None:
    rows = [{"n": n, "text": "x" * 100} for n in range(5000)]
    await register(client, source={"type": "rows", "rows": rows})
    page = await client.get("/v1beta/datasetio/iterrows/d")
    assert "content-length" not in page.headers
    assert page.json() == {"data": rows, "has_more": False, "url": ITERROWS}
    first = await client.get("/v1beta/datasetio/iterrows/d?limit=10")
    assert first.headers["content-length"] == str(len(first.content))


async def test_who_has_no_role_for_datasets_is_refused(datasets: Datasets) -> None:
    rules = (AccessRule.model_validate({"role": "*", "actions": ["query"]}),)
    gate = Gate(Noop(), Access(rules), Attempts(Settings().limits))
    transport = httpx.ASGITransport(app_of(datasets, gate))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for method, path in [
            ("GET", "datasets"),
            ("POST", "datasets"),
            ("GET", "datasets/d"),
            ("DELETE", "datasets/d"),
            ("POST", "datasetio/append-rows/d"),
            ("GET", "datasetio/iterrows/d"),
        ]:
            assert (await client.request(method, f"/v1beta/{path}")).status_code == 403


async def test_the_answers_are_those_that_were_recorded(client: httpx.AsyncClient) -> None:
    """Where a real server answers well; its names of owner and provider are its own."""
    if not RECORDED.exists():
        pytest.skip("the recordings are not here")
    names = sorted(
        path.name.removesuffix(".head.txt") for path in RECORDED.glob("[abcg]*.head.txt")
    )
    for name in names:
        if name[:3] in _OTHERWISE or name.startswith(("g01", "g02")):
            continue
        method, path, _ = (RECORDED / f"{name}.head.txt").read_text().split(" ", 2)
        body = RECORDED / f"{name}.req.json"
        content = body.read_bytes() if body.exists() else None
        response = await client.request(method, path, content=content, headers=JSON)
        answer = RECORDED / f"{name}.resp.json"
        expected = json.loads(answer.read_text()) if answer.exists() else None
        found = response.json() if response.content else None
        assert _comparable(found) == _comparable(expected), name


# Rows are kept, lists are taken, what is missing is 404, deleting again is 204, and texts are ours.
_OTHERWISE = {"a03", "a05", "a08", "a10", "a12", "b07", "b08", "c02", "c03", "c05", "g04", "g05"}


def _comparable(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {name: answer[name] for name in answer if name not in {"owner", "provider_id"}}
    return answer
