"""``POST /v1alpha/inference/rerank``, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError

from agent.errors import AgentError
from agent.inferences import Inferences
from agent.reranking.reranking import Reranking
from agent.settings import Settings
from rest_compat.callers import Callers
from rest_compat.llama_stack.problems import refuse
from rest_compat.llama_stack.rerank import METHOD, make_rerank
from tests.fakes.gates import open_gate
from tests.fakes.ranking_stack import RankingStack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

PATH = "/v1alpha/inference/rerank"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of the route on a stack with a language model and a reranker."""
    settings = Settings()
    app = FastAPI(exception_handlers={AgentError: refuse, RequestValidationError: refuse})
    stack = RankingStack("llm", "rerank")
    reranking = Reranking(stack, Inferences(stack, settings.limits, None), settings)
    app.include_router(make_rerank(reranking, Callers(open_gate(), settings.limits)))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        yield client


@pytest.mark.parametrize(("model", "method"), [("llm", "bm25"), ("vllm/rerank", "stack")])
async def test_items_come_back_by_their_relevance(
    client: httpx.AsyncClient, model: str, method: str
) -> None:
    """A header tells what has ranked them."""
    asked = {"model": model, "query": "where", "items": ["dogs", {"type": "text", "text": "where"}]}

    answer = await client.post(PATH, json=asked | {"max_num_results": 1})

    assert (answer.status_code, answer.headers[METHOD]) == (200, method)
    [row] = answer.json()["data"]
    assert row["index"] == 1
    assert row["relevance_score"] > 0


@pytest.mark.parametrize("items", ["a cat", {"type": "text", "text": "a cat"}])
async def test_one_item_needs_no_list(client: httpx.AsyncClient, items: Any) -> None:
    """As the other specification has it."""
    asked = {"model": "llm", "query": "cats", "items": items, "max_num_results": 5}

    answer = await client.post(PATH, json=asked)

    assert [row["index"] for row in answer.json()["data"]] == [0]


@pytest.mark.parametrize(
    ("wrong", "loc"),
    [
        ({"model": None}, ["body", "model"]),
        ({"query": None}, ["body", "query"]),
        ({"max_num_results": 0}, ["body", "max_num_results"]),
        ({"items": []}, ["body", "items"]),
        ({"items": ["a"] * 1001}, ["body", "items"]),
        ({"items": ["a", {"type": "audio"}]}, ["body", "items"]),
    ],
)
async def test_a_wrong_field_is_told(
    client: httpx.AsyncClient, wrong: dict[str, Any], loc: list[str]
) -> None:
    """As Llama Stack does it: one that is missing, too."""
    asked = {"model": "llm", "query": "cat", "items": ["a"]} | wrong
    asked = {name: value for name, value in asked.items() if value is not None}

    answer = await client.post(PATH, json=asked)

    assert answer.status_code == 400
    assert answer.json()["error"]["detail"]["errors"][0]["loc"][: len(loc)] == loc


@pytest.mark.parametrize(
    ("wrong", "status", "named"),
    [
        ({"model": "nobody/knows"}, 404, "model"),
        ({"query": " "}, 400, "query"),
        (
            {"items": ["a", {"type": "image_url", "image_url": {"url": "data:image/png,"}}]},
            400,
            "items[1]",
        ),
    ],
)
async def test_what_cannot_be_ranked_is_told(
    client: httpx.AsyncClient, wrong: dict[str, Any], status: int, named: str
) -> None:
    answer = await client.post(PATH, json={"model": "llm", "query": "cat", "items": ["a"]} | wrong)

    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert named in answer.json()["detail"]
