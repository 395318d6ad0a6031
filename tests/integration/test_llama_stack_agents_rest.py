"""The twelve operations of the agents API over HTTP, on an agents API that does as it is told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from agent.auth.access import Access
from agent.auth.attempts import Attempts
from agent.auth.gate import Gate
from agent.auth.noop import Noop
from agent.errors import (
    InvalidParams,
    ModelNotFound,
    NotProvided,
    StackUnavailable,
    TooManyTasks,
)
from agent.settings.access import AccessRule
from agent.settings.own import Limits
from tests.fakes.agents_api import (
    FORBIDDEN,
    MISSING,
    FakeAgentsApi,
    agents_app,
    chunk_of,
    end_chunk,
    step_of,
    text_chunk,
    turn_of,
)
from tests.fakes.engine import until
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.agents.base import NewTurn
    from agent.errors import AgentError

pytestmark = pytest.mark.anyio

AGENTS = "/v1alpha/agents"
AGENT = f"{AGENTS}/agent-1"
SESSION = f"{AGENT}/session/session-1"
TURNS = f"{SESSION}/turn"
TURN = f"{TURNS}/turn-1"
CONFIG: dict[str, Any] = {"model": "m", "instructions": "Be kind."}
HI: dict[str, Any] = {"role": "user", "content": "hi"}
SAID: dict[str, Any] = {"messages": [HI]}
RESPONSE: dict[str, Any] = {"call_id": "c", "tool_name": "t", "content": "done"}
RESUMED: dict[str, Any] = {"tool_responses": [RESPONSE]}
RECORDED = Path(__file__).parents[2].parent / "shared/recordings/llama_stack/v0.3.5_agents"


@pytest.fixture(scope="module")
def agents() -> FakeAgentsApi:
    """Return what all requests of this module arrive at."""
    return FakeAgentsApi()


@pytest.fixture(scope="module")
async def url(agents: FakeAgentsApi) -> AsyncIterator[str]:
    """Return the address of a server."""
    async with run_server(agents_app(agents)) as url:
        yield url


@pytest.fixture(scope="module")
async def shared(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of the server."""
    async with httpx.AsyncClient(base_url=url, timeout=5) as http:
        yield http


@pytest.fixture
def http(shared: httpx.AsyncClient, agents: FakeAgentsApi) -> httpx.AsyncClient:
    """Return the client, with an agents API that has forgotten everything."""
    agents.forget()
    return shared


def inside(agents: FakeAgentsApi, **more: Any) -> httpx.AsyncClient:
    """Return a client of an application without a socket."""
    transport = httpx.ASGITransport(agents_app(agents, **more))
    return httpx.AsyncClient(transport=transport, base_url="http://here")


def wrong(answer: httpx.Response) -> list[tuple[tuple[int | str, ...], str]]:
    """Return where the fields are that are refused, and how they are wrong."""
    assert answer.status_code == 400
    (error,) = answer.json().values()
    found = error["detail"]["errors"]
    assert all(each.keys() == {"loc", "msg", "type"} for each in found)
    return [(tuple(each["loc"]), each["type"]) for each in found]


def events(answer: httpx.Response) -> list[Any]:
    """Return what the events of a stream hold."""
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *told, end = answer.text.split("\n\n")
    assert end == ""
    assert all(event.startswith("data: ") for event in told)
    return [json.loads(event.removeprefix("data: ")) for event in told]


# Agents.


@pytest.mark.parametrize("body", [{"agent_config": CONFIG}, CONFIG], ids=["wrapped", "bare"])
async def test_an_agent_is_made_of_either_shape(
    http: httpx.AsyncClient, agents: FakeAgentsApi, body: Any
) -> None:
    made = await http.post(AGENTS, json=body)
    assert (made.status_code, made.json()) == (200, {"agent_id": "agent-1"})
    config = agents.last[1]
    assert config["model"] == "m"
    assert config["tool_config"]["tool_choice"] == "auto"
    told = await http.get(AGENT)
    assert told.json()["agent_config"] == config
    assert told.headers["content-type"] == "application/json"


async def test_a_model_that_the_caller_may_not_choose_is_refused(
    http: httpx.AsyncClient, agents: FakeAgentsApi
) -> None:
    config = CONFIG | {"model": FORBIDDEN}
    refused = await http.post(AGENTS, json={"agent_config": config})
    assert (refused.status_code, refused.json()["detail"]) == (403, "Not that model.")
    assert agents.calls == []


@pytest.mark.parametrize("streaming", [True, False])
async def test_who_leaves_before_anything_comes_leaves_the_turn(
    http: httpx.AsyncClient, agents: FakeAgentsApi, *, streaming: bool
) -> None:
    agents.script = (asyncio.Event(),)
    with pytest.raises(httpx.ReadTimeout):
        await http.post(TURNS, json=SAID | {"stream": streaming}, timeout=0.1)

    async def left() -> bool:
        return [stream.closed for stream in agents.streams] == [1]

    with anyio.fail_after(5):
        await until(left)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (AGENTS, {}, ("body", "agent_config")),
        (AGENTS, {"model": "m"}, ("body", "agent_config", "instructions")),
        (f"{AGENT}/session", {}, ("body", "session_name")),
        (TURNS, {"stream": True}, ("body", "messages")),
        (f"{TURN}/resume", {"stream": True}, ("body", "tool_responses")),
    ],
    ids=str,
)
async def test_a_field_that_is_missing_is_named(
    http: httpx.AsyncClient, agents: FakeAgentsApi, path: str, body: Any, expected: Any
) -> None:
    assert wrong(await http.post(path, json=body)) == [(expected, "missing")]
    assert agents.calls == []


async def test_a_message_of_the_system_is_no_message_of_a_turn(http: httpx.AsyncClient) -> None:
    answer = await http.post(TURNS, json={"messages": [{"role": "system", "content": "x"}]})
    where = ("body", "messages", 0)
    assert wrong(answer) == [
        ((*where, "UserMessage", "role"), "literal_error"),
        ((*where, "ToolResponseMessage", "role"), "literal_error"),
        ((*where, "ToolResponseMessage", "call_id"), "missing"),
    ]


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"session_name": "\\ud800"}'], ids=str)
async def test_what_is_no_json_is_refused(http: httpx.AsyncClient, body: bytes) -> None:
    head = {"content-type": "application/json"}
    answer = await http.post(f"{AGENT}/session", content=body, headers=head)
    assert [kind for _, kind in wrong(answer)] == ["json_invalid"]


@pytest.mark.parametrize("path", [AGENTS, f"{AGENT}/sessions"])
async def test_lists_are_told_a_page_at_a_time(
    http: httpx.AsyncClient, agents: FakeAgentsApi, path: str
) -> None:
    pages = {
        "": (0, 1000),
        "?start_index=2&limit=3": (2, 3),
        "?limit=-1": (0, 1000),
        "?limit=1000000000000000000000": (0, 1000),
    }
    for query, page in pages.items():
        answer = await http.get(path + query)
        assert answer.status_code == 200
        assert answer.json().keys() == {"data", "has_more", "url"}
        assert agents.last[-2:] == page


@pytest.mark.parametrize(
    ("query", "name", "kind"),
    [
        ("limit=abc", "limit", "int_parsing"),
        ("limit=0", "limit", "value_error"),
        ("limit=-2", "limit", "greater_than_equal"),
        ("start_index=-1", "start_index", "greater_than_equal"),
        ("start_index=99999999999", "start_index", "less_than_equal"),
    ],
)
async def test_a_page_must_be_one(
    http: httpx.AsyncClient, query: str, name: str, kind: str
) -> None:
    for path in (AGENTS, f"{AGENT}/sessions"):
        assert wrong(await http.get(f"{path}?{query}")) == [(("query", name), kind)]


@pytest.mark.parametrize("path", [AGENT, SESSION])
async def test_what_is_deleted_is_not_told_of(
    http: httpx.AsyncClient, agents: FakeAgentsApi, path: str
) -> None:
    deleted = await http.delete(path, params={"args": "x", "kwargs": "{}"})
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert agents.last in {("delete", "agent-1"), ("delete_session", "agent-1", "session-1")}


async def test_a_long_agent_is_refused_and_a_long_turn_is_not(
    http: httpx.AsyncClient, agents: FakeAgentsApi
) -> None:
    long = "x" * (300 * 1024)
    refused = await http.post(AGENTS, json=CONFIG | {"instructions": long})
    assert refused.status_code == 413
    assert refused.json().keys() == {"status", "title", "detail"}
    taken = await http.post(TURNS, json={"messages": [{"role": "user", "content": long}]})
    assert taken.status_code == 200
    turn: NewTurn = agents.last[-1]
    assert turn.messages[0]["content"] == long
    async with inside(agents, limits=Limits(body_bytes=1000)) as small:
        assert (await small.post(TURNS, json={"messages": [HI] * 50})).status_code == 413


# Sessions.


async def test_a_session_is_begun_and_told(http: httpx.AsyncClient, agents: FakeAgentsApi) -> None:
    begun = await http.post(f"{AGENT}/session", json={"session_name": "s", "agent_id": "other"})
    assert begun.json() == {"session_id": "session-1"}
    assert agents.last == ("create_session", "agent-1", "s")
    told = await http.get(SESSION)
    assert told.json()["turns"] == [turn_of()]
    assert agents.last[-1] is None


@pytest.mark.parametrize("name", ["n" * 1025, "a\0b", None, 5], ids=["long", "NUL", "null", "5"])
async def test_a_session_has_a_name_that_can_be_kept(http: httpx.AsyncClient, name: Any) -> None:
    answer = await http.post(f"{AGENT}/session", json={"session_name": name})
    assert [loc for loc, _ in wrong(answer)] == [("body", "session_name")]


@pytest.mark.parametrize(
    ("query", "body", "named"),
    [
        ("turn_ids=a&turn_ids=b", b"", ["a", "b"]),
        ("turn_ids=a,b", b"", ["a", "b"]),
        ("turn_ids=a", b'["ignored"]', ["a"]),
        ("", b'["a", "b"]', ["a", "b"]),
        ("turn_ids=", b"", None),
        ("", b"[]", None),
        ("", b"null", None),
    ],
    ids=str,
)
async def test_turns_of_a_session_are_named_in_any_way(
    http: httpx.AsyncClient, agents: FakeAgentsApi, query: str, body: bytes, named: Any
) -> None:
    answer = await http.request("GET", f"{SESSION}?{query}", content=body)
    assert answer.status_code == 200
    assert agents.last[-1] == named


@pytest.mark.parametrize(
    ("query", "body", "expected"),
    [
        ("", b'{"turn_ids": []}', (("body",), "list_type")),
        ("", b"[1]", (("body",), "list_type")),
        ("", b"[", (("body",), "json_invalid")),
        ("", b'["\xff"]', (("body",), "json_invalid")),
        ("", json.dumps(["a"] * 1001).encode(), (("body",), "value_error")),
        ("turn_ids=a%00", b"", (("query", "turn_ids"), "value_error")),
        ("turn_ids=" + "a" * 257, b"", (("query", "turn_ids"), "value_error")),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_what_names_no_turns_is_refused(
    http: httpx.AsyncClient, query: str, body: bytes, expected: Any
) -> None:
    answer = await http.request("GET", f"{SESSION}?{query}", content=body)
    assert wrong(answer) == [expected]


# Ids.


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", f"{AGENTS}/{MISSING}", "Agent"),
        ("GET", f"{AGENTS}/{MISSING}/sessions", "Agent"),
        ("POST", f"{AGENTS}/{MISSING}/session", "Agent"),
        ("GET", f"{AGENT}/session/{MISSING}", "Session"),
        ("POST", f"{AGENT}/session/{MISSING}/turn", "Session"),
        ("POST", f"{TURNS}/{MISSING}/resume", "Turn"),
        ("GET", f"{TURNS}/{MISSING}", "Turn"),
        ("GET", f"{TURN}/step/{MISSING}", "Step"),
    ],
)
async def test_what_is_not_there_is_not_found(
    http: httpx.AsyncClient, method: str, path: str, kind: str
) -> None:
    body = {"session_name": "s", "stream": True} | SAID | RESUMED
    answer = await http.request(method, path, json=body if method == "POST" else None)
    assert answer.status_code == 404
    said = f"{kind} with ID {MISSING} does not exist"
    assert answer.json() == {"status": 404, "title": "Not Found", "detail": said}


@pytest.mark.parametrize(("bad", "kind"), [("a" * 257, "string_too_long"), ("a%00", "value_error")])
async def test_an_id_must_be_one(http: httpx.AsyncClient, bad: str, kind: str) -> None:
    paths = {
        f"{AGENTS}/{bad}": "agent_id",
        f"{AGENT}/session/{bad}": "session_id",
        f"{TURNS}/{bad}": "turn_id",
        f"{TURN}/step/{bad}": "step_id",
    }
    for path, name in paths.items():
        assert wrong(await http.get(path)) == [(("path", name), kind)]


# Turns.


async def test_a_turn_is_streamed_as_it_is_made(
    http: httpx.AsyncClient, agents: FakeAgentsApi
) -> None:
    heard = asyncio.Event()
    start = chunk_of("step_start", step_type="inference", step_id="step-1", metadata={})
    agents.script = (start, text_chunk("Grüße"), heard, end_chunk())
    with anyio.fail_after(5):
        async with http.stream("POST", TURNS, json=SAID | {"stream": True}) as answer:
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert answer.headers["cache-control"] == "no-cache, no-transform"
            pieces = answer.aiter_text()
            told = ""
            while told.count("\n\n") < 2:
                told += await anext(pieces)
            heard.set()
            async for piece in pieces:
                told += piece
    chunks = [json.loads(each.removeprefix("data: ")) for each in told.split("\n\n")[:-1]]
    assert chunks == [start, text_chunk("Grüße"), end_chunk()]
    assert [stream.closed for stream in agents.streams] == [1]


@pytest.mark.parametrize("ends_with", ["turn_complete", "turn_awaiting_input"])
async def test_a_turn_is_the_same_in_both_ways(
    http: httpx.AsyncClient, agents: FakeAgentsApi, ends_with: str
) -> None:
    agents.script = (text_chunk("Hello"), end_chunk(turn_of(), ends_with))
    for path, body in ((TURNS, SAID), (f"{TURN}/resume", RESUMED)):
        streamed = events(await http.post(path, json=body | {"stream": True}))
        for stream in ({}, {"stream": False}, {"stream": None}):
            whole = await http.post(path, json=body | stream)
            assert whole.status_code == 200
            assert whole.json() == streamed[-1]["event"]["payload"]["turn"]
    assert [stream.closed for stream in agents.streams] == [1] * 8


async def test_the_singular_shape_says_the_same(
    http: httpx.AsyncClient, agents: FakeAgentsApi
) -> None:
    ids = {"agent_id": "other", "session_id": "other", "turn_id": "other"}
    document = {"content": "d", "mime_type": "text/plain"}
    single = {"messages": HI, "documents": document, "toolgroups": "mcp::a", "tool_config": {}}
    several = {name: [single[name]] for name in ("messages", "documents", "toolgroups")}
    await http.post(TURNS, json=single | ids)
    await http.post(TURNS, json=single | several)
    first, second = agents.calls
    assert first == second
    assert first[:3] == ("create_turn", "agent-1", "session-1")
    await http.post(f"{TURN}/resume", json={"tool_responses": RESPONSE} | ids)
    assert agents.last[1:] == (
        "agent-1",
        "session-1",
        "turn-1",
        [RESPONSE | {"metadata": None}],
    )


EARLY: list[tuple[AgentError, int, str]] = [
    (InvalidParams("documents[0]", "no such type"), 400, "documents[0]"),
    (ModelNotFound("There is no model m"), 404, "There is no model m"),
    (TooManyTasks(3), 429, "try again later"),
    (NotProvided("Not here"), 501, "Not here"),
    (StackUnavailable(), 503, "cannot be reached"),
]


@pytest.mark.parametrize(("error", "status", "said"), EARLY, ids=lambda value: str(value)[:20])
async def test_what_fails_before_a_turn_begins_is_a_status(
    http: httpx.AsyncClient, agents: FakeAgentsApi, error: AgentError, status: int, said: str
) -> None:
    agents.error = error
    refused = await http.post(TURNS, json=SAID | {"stream": True})
    agents.error, agents.script = None, (error,)
    failed = [
        await http.post(TURNS, json=SAID | {"stream": True}),
        await http.post(TURNS, json=SAID),
    ]
    for answer in (refused, *failed):
        assert answer.status_code == status
        assert said in answer.json()["detail"]
        assert ("retry-after" in answer.headers) == (status in {429, 503})
    assert [stream.closed for stream in agents.streams] == [1, 1]


async def test_what_fails_later_is_a_chunk_of_a_stream_and_a_status_without_one(
    http: httpx.AsyncClient, agents: FakeAgentsApi
) -> None:
    agents.script = (text_chunk("a"), ModelNotFound("There is no model m"))
    streamed = await http.post(f"{TURN}/resume", json=RESUMED | {"stream": True})
    assert streamed.status_code == 200
    assert events(streamed) == [
        text_chunk("a"),
        {"error": {"message": "404: There is no model m"}},
    ]
    assert (await http.post(f"{TURN}/resume", json=RESUMED)).status_code == 404


async def test_turns_and_steps_are_told(http: httpx.AsyncClient) -> None:
    assert (await http.get(TURN)).json() == turn_of()
    step = step_of("turn-1", "Hello") | {"step_id": "step-9"}
    assert (await http.get(f"{TURN}/step/step-9")).json() == {"step": step}


# Who may.


@pytest.mark.parametrize("action", ["agents", "query"])
async def test_turns_are_for_who_may_query_and_all_else_for_who_may_have_agents(
    agents: FakeAgentsApi, action: str
) -> None:
    rule = AccessRule.model_validate({"role": "*", "actions": [action]})
    gate = Gate(Noop(), Access([rule]), Attempts(Limits()))
    body = CONFIG | SAID | RESUMED | {"session_name": "s"}
    having = [
        ("GET", AGENTS),
        ("POST", AGENTS),
        ("GET", AGENT),
        ("DELETE", AGENT),
        ("POST", f"{AGENT}/session"),
        ("GET", f"{AGENT}/sessions"),
        ("GET", SESSION),
        ("DELETE", SESSION),
        ("GET", TURN),
        ("GET", f"{TURN}/step/s"),
    ]
    querying = [("POST", TURNS), ("POST", f"{TURN}/resume")]
    may, may_not = (having, querying) if action == "agents" else (querying, having)
    agents.forget()
    async with inside(agents, gate=gate) as http:
        for method, path in may:
            answer = await http.request(method, path, json=body if method == "POST" else None)
            assert answer.is_success
        for method, path in may_not:
            answer = await http.request(method, path, json=body if method == "POST" else None)
            assert (answer.status_code, answer.json()["status"]) == (403, 403)


# As others have it.


async def test_the_document_has_the_operations_and_schemas_of_the_api(
    agents: FakeAgentsApi,
) -> None:
    document = agents_app(agents).openapi()
    operations = {
        each["operationId"]: each for path in document["paths"].values() for each in path.values()
    }
    assert len(operations) == 12
    assert all(each["tags"] == ["Agents"] for each in operations.values())
    assert all("422" not in each["responses"] for each in operations.values())
    names = document["components"]["schemas"].keys()
    assert {"AgentConfig", "Turn", "AgentTurnResponseStreamChunk", "PaginatedResponse"} <= names
    made = document["paths"][f"{AGENTS}/{{agent_id}}/session/{{session_id}}/turn"]["post"]
    content = made["responses"]["200"]["content"]
    assert {kind: told["schema"] for kind, told in content.items()} == {
        "application/json": {"$ref": "#/components/schemas/Turn"},
        "text/event-stream": {"$ref": "#/components/schemas/AgentTurnResponseStreamChunk"},
    }


# A configuration by itself is taken here, and a turn in which nothing is said is not.
OTHERWISE = {"a04_agent_create_no_body_key": 200, "c14_turn_empty_messages": 400}


@pytest.mark.skipif(not RECORDED.exists(), reason="the recordings are not here")
async def test_requests_are_refused_for_the_same_reasons_as_by_a_real_server(
    agents: FakeAgentsApi,
) -> None:
    agents.forget()
    http, compared = inside(agents), 0
    for path in sorted(RECORDED.glob("*.head.txt")):
        method, target, _ = path.read_text().split(" ", 2)
        name = path.name.removesuffix(".head.txt")
        sent, got = (RECORDED / f"{name}.{kind}.json" for kind in ("req", "resp"))
        if not target.startswith(AGENTS) or method == "PUT":
            continue
        body = sent.read_bytes() if sent.exists() else b""
        head = {"content-type": "application/json"}
        answer = await http.request(method, target, content=body, headers=head)
        told = json.loads(got.read_bytes() or b"null") if got.exists() else None
        if isinstance(told, dict) and "error" in told and name not in OTHERWISE:
            assert (answer.status_code, answer.json()) == (400, told), name
            compared += 1
        else:
            expected = OTHERWISE.get(name, 204 if method == "DELETE" else 200)
            assert answer.status_code == expected, (name, answer.text)
    await http.aclose()
    assert compared >= 6


async def test_the_client_of_llama_stack_has_all_operations(
    http: httpx.AsyncClient, agents: FakeAgentsApi
) -> None:
    from llama_stack_client import AsyncLlamaStackClient, NotFoundError

    with anyio.fail_after(10):
        async with AsyncLlamaStackClient(base_url=str(http.base_url), max_retries=0) as client:
            api = client.alpha.agents
            made = await api.create(agent_config={"model": "m", "instructions": "i"})
            session = await api.session.create(made.agent_id, session_name="s")
            where: dict[str, Any] = {
                "agent_id": made.agent_id,
                "session_id": session.session_id,
            }
            assert (await api.retrieve(made.agent_id)).agent_config.model == "m"
            assert (await api.list(limit=5)).has_more is False
            assert (await api.session.list(made.agent_id)).has_more is False
            asked: dict[str, Any] = where | SAID
            chunks = [each async for each in await api.turn.create(**asked, stream=True)]
            assert [each.event.payload.event_type for each in chunks] == [
                "step_progress",
                "turn_complete",
            ]
            turn = await api.turn.create(**asked)
            assert turn.output_message.content == "Hello"
            turn = await api.turn.resume("turn-1", **where | RESUMED)
            assert turn == await api.turn.retrieve("turn-1", **where)
            step = await api.steps.retrieve("step-1", **where, turn_id="turn-1")
            assert step.step.step_id == turn.steps[0].step_id
            told = await api.session.retrieve(
                session.session_id, agent_id=made.agent_id, turn_ids=["a", "b"]
            )
            assert [each.turn_id for each in told.turns] == ["a", "b"]
            with pytest.raises(NotFoundError):
                await api.turn.create(**asked | {"session_id": MISSING}, stream=True)
            await api.session.delete(session.session_id, agent_id=made.agent_id)
            await api.delete(made.agent_id)
    assert agents.last == ("delete", "agent-1")
