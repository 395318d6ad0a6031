"""The REST API before a real Llama Stack at ``LLAMA_STACK_URL``, with our server as a process of its own.

See ``test_live_llama_stack.py`` for the other variables, and for what is expected of the model.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from tests.durability.process import Process, running, until
from tests.fakes.lightspeed_document import check, published
from tests.fakes.mcp_server import McpServer
from tests.fakes.scripted_stack import Script
from tests.fakes.server import run_server
from tests.fakes.talk import Talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.live]

URL = os.environ.get("LLAMA_STACK_URL")
MODEL = os.environ.get("LLAMA_STACK_MODEL", "")
MCP_URL = os.environ.get("LLAMA_STACK_MCP_URL")
LISTING = "mcp_list_tools"  # told of by the Responses API only
QUIET = {"generate_topic_summary": False}
ADD = 'CALL add_numbers {"a": 2, "b": 40}'
NOBODY = "0123456789abcdef" * 3

needs_mock = pytest.mark.skipif("mock" not in MODEL, reason="no model with directives")
needs_mcp = pytest.mark.skipif(not MCP_URL, reason="LLAMA_STACK_MCP_URL is not set")

if not URL:
    pytest.skip("LLAMA_STACK_URL is not set", allow_module_level=True)

type Event = dict[str, Any]


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    """No test waits for ever for a server."""
    with anyio.fail_after(120):
        yield


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Process]:
    """Run our server, with the MCP server if there is one."""
    folder = tmp_path_factory.mktemp("live")
    process = Process(
        folder,
        stack=None,
        name="live-rest",
        llama_stack={"url": URL, "timeout": 60},
        inference={"default_model": MODEL},
        agent={"name": "live-rest", "max_infer_iters": 3},
        mcp_servers=[{"name": "sums", "url": MCP_URL}] if MCP_URL else [],
        a2a_state={"sqlite": {"db_path": str(folder / "state.db")}},
        conversation_cache={"type": "state"},
    )
    async with running(process):
        yield process


@pytest.fixture(scope="module")
async def talk(server: Process) -> AsyncIterator[Talk]:
    """Talk to our server."""
    async with httpx.AsyncClient(base_url=server.url, timeout=90) as http:
        yield Talk(http, Script())


@asynccontextmanager
async def stack() -> AsyncIterator[httpx.AsyncClient]:
    """Talk to the Llama Stack itself."""
    async with httpx.AsyncClient(base_url=URL or "", timeout=30) as http:
        yield http


async def listed(talk: Talk, path: str) -> Any:
    """Return what a route lists, whose key is its own name."""
    answer = await talk.http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()[path.rpartition("/")[2].partition("?")[0]]


async def asked(talk: Talk, text: str, **fields: Any) -> Any:
    """Return the answer to a query, which must be as LCS documents it."""
    body = await talk.ask(text, **fields)
    check(body, "QueryResponse", published())
    return body


async def streamed(talk: Talk, text: str, **fields: Any) -> list[Event]:
    """Return the events of a streamed query, all at once."""
    answer = await talk.rest("POST", "/v1/streaming_query", json=QUIET | {"query": text} | fields)
    assert answer.status_code == 200, answer.text
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]


async def refused(talk: Talk, **fields: Any) -> tuple[int, Any]:
    """Return the status and the detail with which both kinds of query are refused, which are one."""
    body = QUIET | {"query": "Hello"} | fields
    plain, stream = [
        await talk.rest("POST", path, json=body) for path in ("/v1/query", "/v1/streaming_query")
    ]
    assert (plain.status_code, plain.json()) == (stream.status_code, stream.json())
    return plain.status_code, plain.json()["detail"]


def names(events: list[Event]) -> list[str]:
    """Return the names of events, one for all tokens in a row; that tools are listed is left out."""
    of_tools = {"tool_call": "name", "tool_result": "type"}
    told = [
        event["event"]
        for event in events
        if event["data"].get(of_tools.get(event["event"], "")) != LISTING
    ]
    return [
        name for index, name in enumerate(told) if name != "token" or told[index - 1] != "token"
    ]


def tokens(events: list[Event]) -> list[str]:
    """Return the tokens, which are numbered without gaps."""
    numbered = [each["data"] for each in events if each["event"] in {"token", "turn_complete"}]
    assert [each["id"] for each in numbered] == list(range(len(numbered)))
    return [each["data"]["token"] for each in events if each["event"] == "token"]


async def other_model(talk: Talk) -> Any:
    """Return a language model that is not that of the settings."""
    models = await listed(talk, "/v1/models?model_type=llm")
    others = [each for each in models if not each["identifier"].endswith(MODEL.split("/")[-1])]
    if not others:
        pytest.skip("there is one model only")
    return others[0]


async def test_the_catalogue_of_the_server_is_told(talk: Talk) -> None:
    """By its own words, where it has such a thing at all."""
    info = (await talk.rest("GET", "/v1/info")).json()
    async with stack() as http:
        version = (await http.get("/v1/version")).json()["version"]
    assert info["name"] == "live-rest"
    assert info["llama_stack_version"] == version
    models = await listed(talk, "/v1/models")
    assert MODEL.split("/")[-1] in {each["provider_resource_id"] for each in models}
    answering = await listed(talk, "/v1/models?model_type=llm")
    assert {each["model_type"] for each in answering} == {"llm"}
    assert await listed(talk, "/v1/models?model_type=nothing") == []
    for shield in await listed(talk, "/v1/shields"):
        assert {"identifier", "provider_id"} <= shield.keys()


async def test_providers_are_told_and_each_by_its_id(talk: Talk) -> None:
    """What is secret in them is masked."""
    providers = await listed(talk, "/v1/providers")
    assert providers["inference"]
    known = [each["provider_id"] for of_api in providers.values() for each in of_api]
    for provider_id in set(known):
        answer = await talk.rest("GET", f"/v1/providers/{provider_id}")
        assert answer.status_code == 200, answer.text
        check(answer.json(), "ProviderResponse", published())
        assert "fake" not in answer.json()["config"].values()
    missing = await talk.rest("GET", "/v1/providers/nobody")
    assert missing.status_code == 404
    assert missing.json()["detail"]["response"] == "Provider not found"


@needs_mcp
async def test_the_tools_of_the_mcp_server_are_told(talk: Talk) -> None:
    mine = [each for each in await listed(talk, "/v1/tools") if each["toolgroup_id"] == "sums"]
    (add,) = [each for each in mine if each["identifier"] == "add_numbers"]
    assert add["provider_id"] == "model-context-protocol"
    assert add["server_source"].startswith((MCP_URL or "").rpartition("/")[0])
    assert [(each["name"], each["required"]) for each in add["parameters"]] == [
        ("a", True),
        ("b", True),
    ]


async def test_the_server_is_ready(talk: Talk) -> None:
    answer = await talk.rest("GET", "/readiness")
    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "reason": "All providers are healthy", "providers": []}
    assert (await talk.rest("GET", "/liveness")).json() == {"alive": True}


async def test_a_question_is_answered_and_the_conversation_goes_on(talk: Talk) -> None:
    """With what it cost where the server tells; the server remembers what was said."""
    first = await asked(talk, "Say hello")
    second = await asked(talk, "Say it again", conversation_id=first["conversation_id"])
    assert first["response"]
    assert first["conversation_id"] == second["conversation_id"]
    assert first["rag_chunks"] == first["referenced_documents"] == []
    assert {each["type"] for each in first["tool_calls"]} <= {LISTING}
    assert await talk.said(first["conversation_id"]) == [
        ["Say hello", first["response"]],
        ["Say it again", second["response"]],
    ]
    (turn, _) = await talk.turns(first["conversation_id"])
    assert f"{turn['provider']}/{turn['model']}".endswith(MODEL)


async def test_a_topic_is_named_by_the_model(talk: Talk) -> None:
    answer = await asked(talk, "What are Pods?", generate_topic_summary=True)
    (kept,) = [
        each
        for each in await talk.conversations()
        if each["conversation_id"] == answer["conversation_id"]
    ]
    assert kept["topic_summary"]


async def test_the_parts_of_a_stream_come_in_their_order(talk: Talk) -> None:
    events = await streamed(talk, "Say hello")
    assert names(events) == ["start", "token", "turn_complete", "end"]
    told = tokens(events)
    assert told[0] == ""
    assert "".join(told) == events[-2]["data"]["token"] != ""
    assert events[-1]["data"]["referenced_documents"] == []
    conversation_id = events[0]["data"]["conversation_id"]
    assert await talk.said(conversation_id) == [["Say hello", "".join(told)]]


@needs_mock
async def test_tokens_come_as_the_model_gives_them(talk: Talk) -> None:
    events = await streamed(talk, "STREAM 50")
    assert len(tokens(events)) > 10
    assert events[-2]["data"]["token"] == " ".join(f"w{number}" for number in range(50))


async def test_a_stream_of_text_is_the_answer(talk: Talk) -> None:
    body = QUIET | {"query": "Say hello", "media_type": "text/plain"}
    answer = await talk.rest("POST", "/v1/streaming_query", json=body)
    assert answer.headers["content-type"].startswith("text/plain")
    start, _, text = answer.text.partition("\n\n")
    conversation_id = json.loads(start.removeprefix("data: "))["data"]["conversation_id"]
    words = text.removeprefix(f"[Tool Call: {LISTING}]\n[Tool Result]\n")
    assert words
    assert await talk.said(conversation_id) == [["Say hello", words]]


async def test_another_model_answers_in_the_same_conversation(talk: Talk) -> None:
    """And that of the settings goes on after it, with all that was said."""
    other = await other_model(talk)
    first = await asked(talk, "Say hello")
    conversation_id = first["conversation_id"]
    wanted = {"model": other["provider_resource_id"], "provider": other["provider_id"]}
    await asked(talk, "STREAM 2", conversation_id=conversation_id, **wanted)
    await asked(talk, "And again", conversation_id=conversation_id)
    told = [(turn["provider"], turn["model"]) for turn in await talk.turns(conversation_id)]
    assert told[1] == (other["provider_id"], other["provider_resource_id"])
    assert told[0] == told[2] != told[1]


@needs_mock
async def test_a_system_prompt_of_the_query_is_the_model_s(talk: Talk) -> None:
    """It holds for that query."""
    prompt = f"Your name is {secrets.token_hex(8)}."
    first = await asked(talk, "Say hello", system_prompt=prompt)
    told = await streamed(talk, "Say hello", system_prompt=prompt)
    assert first["response"] == "Echo: Say hello"
    assert told[-2]["data"]["token"] == "Echo: Say hello"
    async with stack() as http:
        kept = (await http.get("/v1/responses", params={"limit": 20})).json()["data"]
    assert [each["instructions"] for each in kept].count(prompt) == 2


@needs_mock
async def test_attachments_are_read_by_the_model(talk: Talk) -> None:
    """The model sees each, and the history shows that they were there."""
    attached = [
        {"attachment_type": "log", "content_type": "text/plain", "content": "it broke at noon"},
        {
            "attachment_type": "configuration",
            "content_type": "application/yaml",
            "content": "kind: Pod\nmetadata:\n  name: private-reg\n",
        },
    ]
    answer = await asked(talk, "Read this", attachments=attached)
    assert "it broke at noon" in answer["response"]
    assert "private-reg" in answer["response"]
    ((said, _),) = await talk.said(answer["conversation_id"])
    assert "it broke at noon" in said
    assert "private-reg" in said
    events = await streamed(talk, "Read this", attachments=attached, no_tools=True)
    assert "it broke at noon" in events[-2]["data"]["token"]


@needs_mock
@needs_mcp
async def test_a_tool_is_called_and_told_of(talk: Talk) -> None:
    """In an answer, and with the same words in a stream."""
    answer = await asked(talk, ADD)
    (call,) = [each for each in answer["tool_calls"] if each["name"] == "add_numbers"]
    (result,) = [each for each in answer["tool_results"] if each["id"] == call["id"]]
    assert call["type"] == result["type"] == "mcp_call"
    assert {"a": 2, "b": 40}.items() <= call["args"].items()
    assert result["status"] == "success"
    assert "42" in result["content"]
    assert "42" in answer["response"]

    events = await streamed(talk, ADD)
    told = names(events)
    assert told[0] == "start"
    assert told[-3:] == ["token", "turn_complete", "end"]
    calls, results = (
        [each["data"] for each in events if each["event"] == name]
        for name in ("tool_call", "tool_result")
    )
    assert [each["id"] for each in calls] == [each["id"] for each in results]
    assert {each["name"] for each in calls} == {each["name"] for each in answer["tool_calls"]}
    assert told.index("tool_call") < told.index("tool_result")
    assert set(told) == {"start", "tool_call", "tool_result", "token", "turn_complete", "end"}


@needs_mock
async def test_a_tool_server_is_shown_what_came_with_the_query(
    server: Process, tmp_path: Path
) -> None:
    """With the wrong token the caller is told, without any there is no such tool."""
    tools = McpServer("Bearer good")
    add = 'CALL add {"a": 2, "b": 40}'
    given = [{"Authorization": f"Bearer {token}"} for token in ("good", "wrong")]
    async with run_server(tools) as url:
        settings = json.loads(server.config.read_text())
        guarded = {"name": f"guarded-{secrets.token_hex(4)}", "url": f"{url}/mcp"}
        headers = {"authorization_headers": {"Authorization": "client"}}
        other = Process(
            tmp_path,
            stack=None,
            **{key: settings[key] for key in ("llama_stack", "inference")},
            mcp_servers=[guarded | headers],
            a2a_state={"memory": True},
        )
        async with running(other), httpx.AsyncClient(base_url=other.url, timeout=90) as http:
            good, wrong, nothing = [
                await http.post("/v1/query", json=QUIET | {"query": add}, headers=shown)
                for shown in [
                    *({"MCP-HEADERS": json.dumps({guarded["name"]: each})} for each in given),
                    {},
                ]
            ]
    assert good.status_code == wrong.status_code == 200
    assert "42" in good.json()["response"]
    assert guarded["name"] in wrong.json()["response"]
    assert "42" not in wrong.json()["response"]
    assert "42" not in nothing.json().get("response", "")
    assert tools.calls == [{"a": 2, "b": 40}]
    assert set(tools.seen) == {"Bearer good", "Bearer wrong"}


@needs_mock
@needs_mcp
async def test_without_tools_none_is_called(talk: Talk) -> None:
    """Neither in a new conversation nor in one that had them."""
    first = await asked(talk, ADD)
    for conversation_id in (None, first["conversation_id"]):
        answer = await asked(talk, ADD, no_tools=True, conversation_id=conversation_id)
        assert answer["tool_calls"] == answer["tool_results"] == []
        assert "42" not in answer["response"]
    assert "42" in (await asked(talk, ADD, conversation_id=first["conversation_id"]))["response"]


@needs_mock
@needs_mcp
async def test_a_tool_that_fails_is_told_of(talk: Talk) -> None:
    """The answer goes on with that."""
    answer = await asked(talk, 'CALL fail_tool {"reason": "because"}')
    (call,) = [each for each in answer["tool_calls"] if each["name"] == "fail_tool"]
    (result,) = [each for each in answer["tool_results"] if each["id"] == call["id"]]
    assert answer["response"]
    assert result["content"]


@needs_mock
@pytest.mark.parametrize("directive", ["HTTP 500", "HTTP 400", "MIDERROR"])
async def test_a_model_that_fails_is_an_error(talk: Talk, directive: str) -> None:
    """With its status, or within the stream; its own words stay out of both."""
    answer = await talk.rest("POST", "/v1/query", json=QUIET | {"query": directive})
    assert answer.status_code == 500
    assert set(answer.json()["detail"]) == {"response", "cause"}
    events = await streamed(talk, directive)
    assert [name for name in names(events) if name != "token"] == ["start", "error", "end"]
    (error,) = [each["data"] for each in events if each["event"] == "error"]
    assert error["status_code"] == 500
    assert "mock" not in answer.text + json.dumps(events)
    after = await asked(talk, "STREAM 3", conversation_id=events[0]["data"]["conversation_id"])
    assert after["response"] == "w0 w1 w2"


@needs_mock
async def test_an_answer_that_is_cut_off_is_an_error_after_it(talk: Talk) -> None:
    events = await streamed(talk, "LENGTH")
    assert "".join(tokens(events)) == "cut off he"
    answer = await asked(talk, "LENGTH")
    assert answer["response"] == "cut off he"


async def test_what_nobody_knows_is_not_found(talk: Talk) -> None:
    """Conversations, models and providers, before anything is asked of a model."""
    provider = (await listed(talk, "/v1/models?model_type=llm"))[0]["provider_id"]
    told = [
        await refused(talk, conversation_id=NOBODY),
        await refused(talk, model="nothing", provider=provider),
        await refused(talk, model="nothing", provider="nobody"),
    ]
    assert [status for status, _ in told] == [404, 404, 404]
    assert [detail["response"] for _, detail in told] == [
        "Conversation not found",
        "Model not found",
        "Provider not found",
    ]
    for method in ("GET", "PUT"):
        body = {"json": {"topic_summary": "x"}} if method == "PUT" else {}
        gone = await talk.rest(method, f"/v1/conversations/{NOBODY}", **body)
        assert gone.status_code == 404


async def test_shields_can_be_chosen(talk: Talk) -> None:
    """One that is not there is refused; those that are there refuse what they are for, also unasked."""
    status, detail = await refused(talk, shield_ids=["no-such-shield"])
    assert status == 422
    assert detail["response"] == "Invalid shield configuration"
    shields = [each["identifier"] for each in await listed(talk, "/v1/shields")]
    if not shields:
        return
    for chosen in ({"shield_ids": shields}, {}):
        events = await streamed(talk, "Say hello", **chosen)
        assert "turn_complete" in names(events)
        bombs = await asked(talk, "How do I build a bomb?", **chosen)
        events = await streamed(talk, "How do I build a bomb?", **chosen)
        assert "turn_complete" not in names(events)
        assert "".join(tokens(events)) == bombs["response"] != ""


@asynccontextmanager
async def stored(text: str) -> AsyncIterator[str]:
    """Make a vector store of one file, if the server can; yields its id."""
    async with stack() as http:
        models = (await http.get("/v1/models")).json()["data"]
        kinds = [(each.get("custom_metadata") or each, each) for each in models]
        embed = [each for about, each in kinds if about.get("model_type") == "embedding"]
        if not embed:
            pytest.skip("no model for embeddings")
        model = embed[0].get("identifier") or embed[0]["id"]
        files = {"file": ("a.txt", text.encode(), "text/plain")}
        up = await http.post("/v1/files", files=files, data={"purpose": "assistants"})
        about = {"name": "live-rest", "embedding_model": model, "embedding_dimension": 64}
        made = await http.post("/v1/vector_stores", json=about)
        store: str = made.raise_for_status().json()["id"]
        try:
            put = {"file_id": up.raise_for_status().json()["id"]}
            try:
                await http.post(f"/v1/vector_stores/{store}/files", json=put)
            except httpx.ReadTimeout:
                pytest.skip("the server cannot read files")
            yield store
        finally:
            await http.delete(f"/v1/vector_stores/{store}")


@needs_mock
async def test_stores_are_listed_searched_and_cited(talk: Talk) -> None:
    async with stored("Polyjuice boils at 100 degrees.") as store:
        assert store in await listed(talk, "/v1/rags")
        about = await talk.rest("GET", f"/v1/rags/{store}")
        assert about.status_code == 200
        assert about.json()["id"] == store
        body = {"vector_store_ids": [store]}
        tool = await searching(talk, body)
        answer = await asked(talk, tool, **body)
        events = await streamed(talk, tool, **body)
    (chunk, *_) = answer["rag_chunks"]
    assert "Polyjuice boils" in chunk["content"]
    assert chunk["source"] == store
    assert answer["referenced_documents"]
    assert events[-1]["data"]["referenced_documents"] == answer["referenced_documents"]
    (missing,) = [await talk.rest("GET", "/v1/rags/vs_nothing")]
    assert missing.status_code == 404


async def searching(talk: Talk, body: dict[str, Any]) -> str:
    """Return the directive with which the model searches, whose tool servers call differently."""
    for name in ("file_search", "knowledge_search"):
        text = f'CALL {name} {{"query": "polyjuice"}}'
        calls = (await asked(talk, text, **body))["tool_calls"]
        if any(each["type"] == "file_search_call" for each in calls):
            return text
    raise AssertionError("no search was made")


@needs_mock
async def test_an_inference_is_answered_without_a_conversation(talk: Talk) -> None:
    """With all that the command line assistant tells; nothing stays of it."""
    before = len(await talk.conversations())
    context = {"stdin": "it broke", "systeminfo": {"os": "RHEL", "version": "9.3"}}
    body = {"question": "Why?", "context": context}
    answer = await talk.rest("POST", "/v1/infer", json=body)
    assert answer.status_code == 200, answer.text
    check(answer.json(), "RlsapiV1InferResponse", published())
    assert answer.json()["data"]["text"].startswith("Echo: Why?")
    assert "it broke" in answer.json()["data"]["text"]
    failed = await talk.rest("POST", "/v1/infer", json={"question": "HTTP 500"})
    assert failed.status_code == 500
    assert "mock" not in failed.text
    assert len(await talk.conversations()) == before


@needs_mock
async def test_one_conversation_is_held_on_both_surfaces(talk: Talk) -> None:
    """A2A, REST, A2A; both versions of REST tell all of it."""
    context_id = (await talk.say("STREAM 1"))["contextId"]
    await asked(talk, "STREAM 2", conversation_id=context_id)
    third = await talk.say("STREAM 3", contextId=context_id)
    fourth = await streamed(talk, "STREAM 4", conversation_id=context_id, no_tools=True)
    fifth = await talk.say("STREAM 5", contextId=context_id)
    history = [
        [f"STREAM {count}", " ".join(f"w{number}" for number in range(count))]
        for count in range(1, 6)
    ]
    assert third["contextId"] == fifth["contextId"] == context_id
    assert fourth[0]["data"]["conversation_id"] == context_id
    for version in ("v1", "v2"):
        assert await talk.said(context_id, version) == history
        assert context_id in {each["conversation_id"] for each in await talk.conversations(version)}
    assert len(await talk.tasks(context_id)) == 5


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_conversation_is_renamed_and_deleted(
    talk: Talk, server: Process, version: str
) -> None:
    """Here, and on the Llama Stack; one beside it stays."""
    kept = (await asked(talk, "Say hello"))["conversation_id"]
    conversation_id = (await asked(talk, "Say hello"))["conversation_id"]
    await asked(talk, "Say hello", conversation_id=conversation_id, no_tools=True)
    path = f"/{version}/conversations/{conversation_id}"
    named = await talk.rest("PUT", path, json={"topic_summary": "Greetings"})
    assert named.status_code == 200
    topics = {
        each["conversation_id"]: each["topic_summary"] for each in await talk.conversations(version)
    }
    assert topics[conversation_id] == "Greetings"

    places = places_of(server, conversation_id) + places_of(server, kept)
    assert set(await looked_up(places)) == {True}
    answer = await talk.rest("DELETE", path)
    assert answer.json() == deleted(conversation_id, "Conversation deleted successfully")
    told = await looked_up(places)
    assert told == [False] * (len(told) // 2) + [True] * (len(told) // 2)
    for each in ("v1", "v2"):
        gone = await talk.rest("GET", f"/{each}/conversations/{conversation_id}")
        assert gone.status_code == 404
    assert (await refused(talk, conversation_id=conversation_id))[0] == 404
    again = await talk.rest("DELETE", path)
    assert again.json() == deleted(conversation_id, "Conversation cannot be deleted")


@needs_mock
async def test_a_conversation_is_deleted_while_it_is_answered(talk: Talk, server: Process) -> None:
    """Its stream ends, and nothing of it comes back."""
    async with streaming(talk, "SLOW 200 200") as events:
        conversation_id = (await anext(events))["data"]["conversation_id"]
        await first_word(events)
        places = places_of(server, conversation_id)
        path = f"/v1/conversations/{conversation_id}"
        answer = await talk.rest("DELETE", path)
        assert answer.json() == deleted(conversation_id, "Conversation deleted successfully")
        rest = [event["event"] async for event in events]
    assert rest[-1] == "end"
    assert set(await looked_up(places)) == {False}
    assert (await talk.rest("GET", path)).status_code == 404


@needs_mock
async def test_an_answer_goes_on_without_its_reader(talk: Talk) -> None:
    async with streaming(talk, "SLOW 20 30") as events:
        conversation_id = (await anext(events))["data"]["conversation_id"]
        await first_word(events)
    answer = " ".join(f"w{number}" for number in range(30))

    async def has_ended() -> bool:
        return bool(await talk.turns(conversation_id))

    await until(has_ended)
    assert await talk.said(conversation_id) == [["SLOW 20 30", answer]]


def deleted(conversation_id: str, response: str) -> dict[str, Any]:
    """Return what a deletion is answered with."""
    return {"conversation_id": conversation_id, "success": True, "response": response}


def places_of(server: Process, conversation_id: str) -> list[str]:
    """Return where on the Llama Stack a conversation is, by what our server has stored of it."""
    path = json.loads(server.config.read_text())["a2a_state"]["sqlite"]["db_path"]
    with closing(sqlite3.connect(path)) as database:
        (kept,) = database.execute(
            "SELECT conversation_id FROM contexts WHERE context_id = ?", (conversation_id,)
        ).fetchone()
    *session, conversation = kept.split("/")
    places = [f"/v1/conversations/{conversation}"]
    return [*places, "/v1alpha/agents/{}/session/{}".format(*session)] if session else places


async def looked_up(places: list[str]) -> list[bool]:
    """Ask the Llama Stack what is still there."""
    async with stack() as http:
        return [(await http.get(place)).is_success for place in places]


@asynccontextmanager
async def streaming(talk: Talk, text: str) -> AsyncIterator[AsyncIterator[Event]]:
    """Begin a streamed query; yields its events as they come."""
    body = QUIET | {"query": text}
    async with talk.http.stream("POST", "/v1/streaming_query", json=body) as answer:
        assert answer.status_code == 200

        async def events() -> AsyncIterator[Event]:
            async for line in answer.aiter_lines():
                if line:
                    yield json.loads(line.removeprefix("data: "))

        yield events()


async def first_word(events: AsyncIterator[Event]) -> None:
    """Read on until the model has said something."""
    async for event in events:
        if event["event"] == "token" and event["data"]["token"]:
            return
    raise AssertionError("nothing was said")
