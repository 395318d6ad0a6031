"""Queries of LCS on the stacks that there are: what each of them is given, and what it answers."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from agent.app import create_app
from agent.settings import Settings
from tests.fakes import llama_stack, responses
from tests.fakes.lightspeed_document import check, published
from tests.fakes.mcp_server import McpServer
from tests.fakes.openai_server import OpenAIServer, calls, fails, says
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

PLAIN = {"generate_topic_summary": False, "no_tools": True}
POD = "kind: Pod\nmetadata:\n  name: private-reg\n"
ATTACHED = [
    {"attachment_type": "configuration", "content_type": "application/yaml", "content": POD},
    {"attachment_type": "log", "content_type": "text/plain", "content": "it broke"},
    {"attachment_type": "api object", "content_type": "application/json", "content": '{"a": 1}'},
    {"attachment_type": "event", "content_type": "application/xml", "content": "<event/>"},
]


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    """No test takes long."""
    with anyio.fail_after(30):
        yield


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the application with these settings; yields a client of it."""
    app = create_app(Settings.model_validate({"a2a_state": {"memory": True}} | settings))
    async with run_server(app) as url, httpx.AsyncClient(base_url=url, timeout=20) as http:
        yield http


@asynccontextmanager
async def embedded(server: OpenAIServer, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the embedded stack with this model server behind it; yields a client."""
    async with run_server(server.app) as url:
        openai = {"base_url": f"{url}/v1", "api_key": "k", "model": "tiny"}
        async with serving(openai=openai, **settings) as http:
            yield http


async def answered(http: httpx.AsyncClient, **fields: Any) -> Any:
    """Return the answer to a query."""
    answer = await http.post("/v1/query", json=PLAIN | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def names_everything(told: str) -> bool:
    """Whether a model can tell from this text which attachment is what."""
    wanted = (
        "Pod/private-reg",
        POD,
        "log",
        "it broke",
        "api object",
        '{"a": 1}',
        "event",
        "<event/>",
    )
    places = [told.find(each) for each in wanted]
    return -1 not in places and places == sorted(places)


async def test_the_embedded_model_sees_which_attachment_is_what() -> None:
    server = OpenAIServer(says("Hm."))
    async with embedded(server) as http:
        await answered(http, query="why?", attachments=ATTACHED)
    told = "\n".join(each["content"] for each in server.requests[0]["messages"])
    assert "why?" in told
    assert names_everything(told)


async def test_documents_are_answered_from_without_a_model() -> None:
    async with serving() as http:
        body = await answered(http, query="What is A2A?", no_tools=False)
        rags = (await http.get("/v1/rags")).json()["rags"]
        log = await answered(http, query="What does the log say?", attachments=ATTACHED[1:2])
    assert body["rag_chunks"]
    assert body["referenced_documents"][0]["doc_title"].startswith("A2A protocol")
    assert body["input_tokens"] > 0
    assert body["output_tokens"] > 0
    assert {chunk["source"] for chunk in body["rag_chunks"]} == set(rags)
    assert "it broke" in log["response"]
    assert [chunk["source"] for chunk in log["rag_chunks"]] == [None]
    assert log["referenced_documents"] == [{"doc_url": None, "doc_title": "log", "source": None}]
    check(body, "QueryResponse", published())


async def test_an_mcp_server_is_listed_and_called_as_lcs_tells_it() -> None:
    server = OpenAIServer(calls(("1", "add", '{"a": 2, "b": 40}')), says("42."))
    async with run_server(McpServer()) as tools:
        mcp = [{"name": "sums", "url": f"{tools}/mcp"}]
        async with embedded(server, mcp_servers=mcp) as http:
            body = await answered(http, query="2 + 40?", no_tools=False)
    listed, called = body["tool_calls"]
    listing, result = body["tool_results"]
    assert listed | {"id": ""} == {
        "id": "",
        "name": "mcp_list_tools",
        "args": {"server_label": "sums"},
        "type": "mcp_list_tools",
    }
    assert called | {"id": ""} == {
        "id": "",
        "name": "add",
        "args": {"a": 2, "b": 40, "server_label": "sums"},
        "type": "mcp_call",
    }
    assert [listed["id"], called["id"]] == [listing["id"], result["id"]]
    assert {tool["name"] for tool in json.loads(listing["content"])["tools"]} == {"add", "fail"}
    told = [(each["status"], each["type"], each["round"]) for each in (listing, result)]
    assert told == [("success", "mcp_list_tools", 1), ("success", "mcp_call", 1)]
    assert result["content"] == "42"
    assert body["response"] == "42."
    assert (body["input_tokens"], body["output_tokens"]) == (24, 14)
    check(body, "QueryResponse", published())


async def test_a_model_server_that_fails_is_an_error_within_the_stream() -> None:
    async with embedded(OpenAIServer(fails(500))) as http:
        streamed = await http.post("/v1/streaming_query", json=PLAIN | {"query": "x"})
        asked = await http.post("/v1/query", json=PLAIN | {"query": "x"})
    events = [json.loads(line[6:])["event"] for line in streamed.text.splitlines() if line]
    assert events == ["start", "error", "end"]
    told = {
        "response": "Error while processing query",
        "cause": "The model server failed (HTTP 500).",
    }
    assert (asked.status_code, asked.json()) == (500, {"detail": told})
    assert json.loads(streamed.text.split("\n\n")[1][6:])["data"] == {"status_code": 500} | told


async def test_a_prompt_that_is_too_long_for_the_model_is_413() -> None:
    said = "This model's maximum context length is 8 tokens."
    async with embedded(OpenAIServer(fails(400, said))) as http:
        asked = await http.post("/v1/query", json=PLAIN | {"query": "x"})
        streamed = await http.post("/v1/streaming_query", json=PLAIN | {"query": "x"})
    told = {
        "response": "Prompt is too long",
        "cause": "The prompt exceeds the maximum allowed length.",
    }
    assert asked.status_code == 413
    assert asked.json() == {"detail": told}
    assert json.loads(streamed.text.split("\n\n")[1][6:])["data"] == {"status_code": 413} | told


async def test_the_agents_api_is_given_the_attachments_as_documents() -> None:
    fake = llama_stack.FakeLlamaStack()
    fake.scripts = [llama_stack.Script(llama_stack.answer("Hm", "."))]
    async with run_server(fake.app) as url, serving(llama_stack={"url": url}) as http:
        body = await answered(http, query="why?", attachments=ATTACHED, no_tools=False)
    assert body["response"] == "Hm."
    turn = fake.bodies("POST", "/turn")[0]
    assert names_everything("\n".join(each["content"] for each in turn["documents"]))


async def test_the_responses_api_is_given_the_attachments_as_text() -> None:
    fake = responses.FakeResponses()
    fake.scripts = [responses.Script(responses.answer("Hm", "."))]
    async with run_server(fake.app) as url, serving(llama_stack={"url": url}) as http:
        body = await answered(http, query="why?", attachments=ATTACHED, no_tools=False)
    assert body["response"] == "Hm."
    given = fake.asked["input"]
    assert isinstance(given, str)
    assert given.startswith("why?")
    assert names_everything(given)


async def test_a_stack_that_is_away_is_503_before_there_is_a_stream() -> None:
    async with serving(llama_stack={"url": "http://127.0.0.1:9"}) as http:
        answers = [
            await http.post(path, json=PLAIN | {"query": "x"})
            for path in ("/v1/query", "/v1/streaming_query")
        ]
    for answer in answers:
        assert answer.status_code == 503
        assert answer.json()["detail"]["response"] == "Unable to connect to Llama Stack"


async def test_documents_of_the_embedded_stack_are_not_those_of_a_llama_stack() -> None:
    """Its settings may still name the stores of one."""
    rags = [{"rag_id": "ocp-docs", "vector_db_id": "vs_123", "db_path": "x.db"}]
    async with serving(byok_rag=rags) as http:
        (store,) = (await http.get("/v1/rags")).json()["rags"]
        asked = {"query": "What is an agent card?", "generate_topic_summary": False}
        body = (await http.post("/v1/query", json=asked)).json()
    assert body["rag_chunks"]
    assert {chunk["source"] for chunk in body["rag_chunks"]} == {store}
    assert store != "ocp-docs"
