"""Callers' credentials on their way to real MCP servers, over the whole server and real sockets."""

from __future__ import annotations

import json
import logging
import traceback
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from click.testing import CliRunner
from mcp.types import JSONRPCError
from starlette.responses import Response

from agent.app import create_app
from agent.cli.main import cli
from agent.errors import TurnFailed
from agent.settings import Settings
from agent.stacks import (
    NO_CREDENTIALS,
    AuthRequired,
    Credentials,
    Resume,
    TextPart,
    TurnCompleted,
    TurnRequest,
)
from agent.stacks.agents_api import AgentsApiStack
from agent.stacks.mcp_access import refusing
from agent.stacks.responses_api import ResponsesApiStack
from tests.durability.process import Process, running, until
from tests.fakes import llama_stack, responses
from tests.fakes.mcp_server import Elsewhere, McpServer, PersonalMcpServer
from tests.fakes.openai_server import OpenAIServer, Reply, calls, fails, says
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from agent.stacks import BaseStack

pytestmark = pytest.mark.anyio

SUM = calls(("1", "add", '{"a": 2, "b": 40}'))
CHALLENGE = 'Bearer resource_metadata="https://tools.org/.well-known/oauth-protected-resource"'


@asynccontextmanager
async def serving(
    folder: Path, *servers: dict[str, Any], model: str = "", **sections: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """Run the whole server; without a ``model`` it calls the tools that it is told to ``use``."""
    openai = {"base_url": f"{model}/v1", "api_key": "k", "model": "tiny"} if model else {}
    settings = Settings.model_validate(
        {
            "openai": openai,
            "mcp_servers": servers,
            "a2a_state": {"sqlite": {"db_path": str(folder / "state.db")}},
            **sections,
        }
    )
    with anyio.fail_after(40):
        async with (
            run_server(create_app(settings)) as url,
            httpx.AsyncClient(base_url=url, timeout=30) as client,
        ):
            yield client


def tools_at(url: str, name: str = "tools", **headers: str) -> dict[str, Any]:
    """Return the settings of an MCP server that is shown these headers."""
    given = {header.replace("_", "-"): source for header, source in headers.items()}
    return {"name": name, "url": f"{url}/mcp", "authorization_headers": given}


def shown(server: str = "tools", **headers: str) -> dict[str, str]:
    """Return the header of a request that is shown to a server."""
    given = {header.replace("_", "-"): value for header, value in headers.items()}
    return {"MCP-HEADERS": json.dumps({server: given})}


async def post(
    client: httpx.AsyncClient, text: str, headers: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}], **fields}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    return await client.post("/a2a", json=asked, headers=headers)


async def send(
    client: httpx.AsyncClient, text: str, headers: dict[str, str] | None = None, **fields: Any
) -> dict[str, Any]:
    """Send a message and return the task."""
    task: dict[str, Any] = (await post(client, text, headers, **fields)).json()["result"]["task"]
    return task


def state(task: dict[str, Any]) -> str:
    told: str = task["status"]["state"]
    return told.removeprefix("TASK_STATE_")


def answer(task: dict[str, Any]) -> str:
    """Return the text of the answer."""
    parts = (part for artifact in task["artifacts"] for part in artifact["parts"])
    return "".join(part.get("text", "") for part in parts)


def asked(task: dict[str, Any]) -> dict[str, Any]:
    """Return the data of what the agent asks."""
    (found,) = [part["data"] for part in task["status"]["message"]["parts"] if "data" in part]
    data: dict[str, Any] = found
    return data


def tool_names(request: dict[str, Any]) -> list[str]:
    """Return the tools that a model was told of."""
    return [tool["function"]["name"] for tool in request["tools"]]


def test_check_names_what_is_probably_not_meant(tmp_path: Path) -> None:
    """And so does the log at start; nothing that is shown is in it."""
    server = tools_at(
        "http://10.0.0.1:3000", X_Key=str(tmp_path / "key"), Authorization="kubernetes"
    )
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"mcp_servers": [server], "a2a_state": {"memory": True}}))
    said = CliRunner().invoke(cli, ["check", "--config", str(config)])
    assert said.exit_code == 0, said.output
    assert "mcp_servers[0]: callers have no token to pass on" in said.output
    assert "mcp_servers[0]: credentials for tools are sent without encryption" in said.output


async def test_the_log_has_at_start_what_is_probably_not_meant(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path, tools_at("http://10.0.0.1:3000", Authorization="kubernetes")):
        pass
    assert "mcp_servers[0]: callers have no token to pass on" in caplog.text


# --- the embedded stack


async def test_a_server_is_shown_what_the_caller_may_show_and_no_more(tmp_path: Path) -> None:
    """The header of a file stays, and none is added, for this server or one that is not configured."""
    (tmp_path / "key").write_text("Bearer good")
    tools = McpServer("Bearer good")
    people, third = PersonalMcpServer({"t-ada": "ada"}), PersonalMcpServer({"t-ada": "ada"})
    async with (
        run_server(tools) as url,
        run_server(people) as other,
        run_server(third) as third_url,
    ):
        servers = [
            tools_at(url, Authorization=str(tmp_path / "key")),
            tools_at(other, "people", X_Token="client"),
        ]
        headers = {
            "tools": {"Authorization": "Bearer mine", "X-More": "more"},
            "people": {"x-token": "t-ada", "X-More": "more", "User-Agent": "me"},
            "third": {"X-Token": "t-ada"},
            f"{third_url}/mcp": {"X-Token": "t-ada"},
        }
        async with serving(tmp_path, *servers) as client:
            mcp_headers = {"MCP-HEADERS": json.dumps(headers)}
            greeted = await send(client, "use greet_ada {}", mcp_headers)
            added = await send(client, 'use add {"a": 2, "b": 40}', mcp_headers)
    assert answer(greeted) == "Hello ada"
    assert answer(added) == "42"
    assert set(tools.seen) == {"Bearer good"}
    assert third.seen == []
    assert all("x-more" not in seen and seen["user-agent"] != "me" for seen in people.seen)


async def test_callers_at_the_same_time_each_have_their_own_tools(tmp_path: Path) -> None:
    """And nobody another's, though a list of tools is kept for a minute."""
    people = PersonalMcpServer({"t-ada": "ada", "t-bob": "bob"})
    answers: list[tuple[str, str, str]] = []
    async with (
        run_server(people) as url,
        serving(tmp_path, tools_at(url, X_Token="client")) as client,
    ):

        async def ask(name: str, tool: str) -> None:
            headers = shown(X_Token=f"t-{name}")
            said = answer(await send(client, f"use greet_{tool} {{}}", headers))
            answers.append((name, tool, said))

        for _ in range(2):
            async with anyio.create_task_group() as group:
                for name in ("ada", "bob") * 3:
                    for tool in ("ada", "bob"):
                        group.start_soon(ask, name, tool)
        nobody = await send(client, "use greet_ada {}")
    assert len(answers) == 24
    for name, tool, said in answers:
        assert (said == f"Hello {tool}") is (name == tool)
    assert "Hello" not in answer(nobody)
    assert sorted(people.greeted) == ["ada"] * 6 + ["bob"] * 6


async def test_a_server_is_left_out_of_the_turns_of_those_who_give_nothing(tmp_path: Path) -> None:
    """It is not even asked; the model is told so, and again when it calls a tool all the same."""
    tools, model = McpServer(), OpenAIServer(SUM, says("Sorry."))
    async with run_server(tools) as url, run_server(model.app) as model_url:
        server = tools_at(url, Authorization="client")
        async with serving(tmp_path, server, model=model_url) as client:
            task = await send(client, "2 + 40?")
    assert state(task) == "COMPLETED"
    assert tools.seen == []
    assert tool_names(model.requests[0]) == ["knowledge_search"]
    left_out = "The tools of tools are left out: the user has sent no credentials for them."
    assert left_out in model.requests[0]["messages"][0]["content"]
    assert model.requests[1]["messages"][-1]["content"] == f"There is no tool add.\n{left_out}"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("only_calls", [False, True])
async def test_an_oauth_token_is_asked_for_in_the_words_of_the_server(
    tmp_path: Path, status: int, *, only_calls: bool
) -> None:
    """A message that carries it tries the turn again; a wrong one does so in vain."""
    tools = McpServer("Bearer good", status=status, only_calls=only_calls, challenge=CHALLENGE)
    model = OpenAIServer(SUM, says("42."))
    async with run_server(tools) as url, run_server(model.app) as model_url:
        server = tools_at(url, Authorization="oauth")
        async with serving(tmp_path, server, model=model_url) as client:
            first = await send(client, "2 + 40?")
            wrong = shown(Authorization="Bearer wr0ng")
            second = await send(client, "Now?", wrong, taskId=first["id"])
            right = shown(f"{url}/mcp", authorization="Bearer good")
            third = await send(client, "Now!", right, taskId=first["id"])
    assert [state(task) for task in (first, second, third)] == [
        "AUTH_REQUIRED",
        "AUTH_REQUIRED",
        "COMPLETED",
    ]
    for task in (first, second):
        assert asked(task) == {
            "type": "auth",
            "server": "tools",
            "url": url,
            "www_authenticate": CHALLENGE,
        }
        assert "MCP-HEADERS" in task["status"]["message"]["parts"][0]["text"]
    assert tools.calls == [{"a": 2, "b": 40}]
    assert "wr0ng" not in str((first, second, third))


async def test_a_server_that_wants_no_token_after_all_is_used_without(tmp_path: Path) -> None:
    async with (
        run_server(McpServer()) as url,
        serving(tmp_path, tools_at(url, Authorization="oauth")) as client,
    ):
        task = await send(client, 'use add {"a": 2, "b": 40}')
    assert answer(task) == "42"


async def test_a_servers_words_that_repeat_a_token_are_not_passed_on(tmp_path: Path) -> None:
    tools = McpServer("Bearer good", challenge='Bearer error_description="c4nary is wrong"')
    async with (
        run_server(tools) as url,
        serving(tmp_path, tools_at(url, Authorization="client")) as client,
    ):
        headers = shown(Authorization="Bearer c4nary")
        task = await send(client, 'use add {"a": 2, "b": 40}', headers)
    assert state(task) == "AUTH_REQUIRED"
    assert "c4nary" not in str(task)


async def test_a_bearer_token_is_passed_on_where_the_settings_say_so(tmp_path: Path) -> None:
    """Not to others."""
    own, other = McpServer("Bearer t0ken"), McpServer()
    async with run_server(own) as url, run_server(other) as other_url:
        servers = [tools_at(url, Authorization="kubernetes"), tools_at(other_url, "other")]
        module = {"module": "noop-with-token"}
        async with serving(tmp_path, *servers, authentication=module) as client:
            headers = {"Authorization": "Bearer t0ken"}
            task = await send(client, 'use add {"a": 2, "b": 40}', headers)
    assert answer(task) == "42"
    assert set(own.seen) == {"Bearer t0ken"}
    assert set(other.seen) == {None}


async def test_an_approved_call_without_its_credentials_waits_for_them(tmp_path: Path) -> None:
    """They come with every message: what was approved is called when they do."""
    tools, model = McpServer("Bearer good"), OpenAIServer(SUM, says("42."))
    async with run_server(tools) as url, run_server(model.app) as model_url:
        server = tools_at(url, Authorization="client") | {"require_approval": "always"}
        async with serving(tmp_path, server, model=model_url) as client:
            headers = shown(Authorization="Bearer good")
            first = await send(client, "2 + 40?", headers)
            approved = await send(client, "yes", taskId=first["id"])
            done = await send(client, "Here", headers, taskId=first["id"])
    assert [state(task) for task in (first, approved, done)] == [
        "INPUT_REQUIRED",
        "AUTH_REQUIRED",
        "COMPLETED",
    ]
    assert asked(approved)["server"] == "tools"
    assert tools.calls == [{"a": 2, "b": 40}]


@pytest.mark.parametrize(
    "headers", ["no JSON", '{"tools": {"X": "a\\r\\nHost: evil"}}', '{"tools": "Bearer c4nary"}']
)
async def test_malformed_headers_are_an_invalid_parameter(tmp_path: Path, headers: str) -> None:
    """Before there is a task."""
    async with serving(tmp_path) as client:
        response = await post(client, "Hi", {"MCP-HEADERS": headers})
    error = response.json()["error"]
    assert error["code"] == -32602
    assert "MCP-HEADERS" in error["message"]
    assert "c4nary" not in response.text


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_credentials_do_not_follow_a_redirect_to_another_server(
    tmp_path: Path, status: int
) -> None:
    """Nor does anything else: neither when tools are listed nor when it is asked what is wanted."""
    evil = PersonalMcpServer({"t-ada": "ada"})
    async with run_server(evil) as evil_url:
        redirect = Elsewhere(f"{evil_url}/mcp", status)
        async with run_server(redirect) as url:
            server = tools_at(url, X_Token="client")
            async with serving(tmp_path, server) as client:
                task = await send(client, "use greet_ada {}", shown(X_Token="t-ada"))
            configured = Settings.model_validate({"mcp_servers": [server]}).mcp_servers
            given = Credentials("", {"tools": {"X-Token": "t-ada"}})
            assert await refusing(configured, given) is None
    assert "Hello" not in answer(task)
    assert redirect.seen
    assert all(seen["x-token"] == "t-ada" for seen in redirect.seen)
    assert evil.seen == []


# --- stacks that run tools elsewhere

TURN: dict[str, Any] = {
    "task_id": "t",
    "context_id": "c",
    "message_id": "m",
    "owner": "o",
    "tenant": "",
    "parts": (TextPart("Hello"),),
}


@asynccontextmanager
async def stack_at(kind: type[BaseStack], url: str, **sections: Any) -> AsyncIterator[BaseStack]:
    """Open a stack for the Llama Stack at ``url``."""
    stack = kind(Settings.model_validate({"llama_stack": {"url": url, "timeout": 5}, **sections}))
    await stack.open()
    try:
        with anyio.fail_after(20):
            yield stack
    finally:
        await stack.close()


async def run(stack: BaseStack, conversation_id: str, **fields: Any) -> list[Any]:
    request = TurnRequest(conversation_id=conversation_id, **(TURN | fields))
    return [event async for event in stack.turn(request)]


def given(name: str) -> Credentials:
    return Credentials(f"token-{name}", {"tools": {"X-Token": f"t-{name}", "X-More": "more"}})


TOOLS = tools_at("http://tools.org", X_Token="client", Authorization="kubernetes")
FREE = {"name": "free", "url": "http://free.org/mcp"}


async def test_llama_stack_is_told_with_each_turn_what_its_caller_shows() -> None:
    """And that the server's tools are for it; the agent, which all share, has neither."""
    fake = llama_stack.FakeLlamaStack()
    fake.scripts = [llama_stack.Script(llama_stack.answer("Hi")) for _ in range(3)]
    async with (
        run_server(fake.app) as url,
        stack_at(AgentsApiStack, url, mcp_servers=[TOOLS, FREE]) as stack,
    ):
        for credentials in (given("ada"), given("bob"), NO_CREDENTIALS):
            conversation = await stack.start_conversation("o")
            events = await run(stack, conversation, credentials=credentials)
            assert isinstance(events[-1], TurnCompleted)
    ada, bob, nobody = [seen for seen in fake.seen if seen.path.endswith("/turn")]
    for name, seen in (("ada", ada), ("bob", bob)):
        assert json.loads(seen.headers["x-llamastack-provider-data"]) == {
            "mcp_headers": {
                "http://tools.org/mcp": {
                    "X-Token": f"t-{name}",
                    "Authorization": f"Bearer token-{name}",
                }
            }
        }
        assert seen.body["toolgroups"] == ["mcp::tools", "mcp::free"]
    assert "x-llamastack-provider-data" not in nobody.headers
    assert "toolgroups" not in nobody.body
    (agent,) = fake.agents.values()
    assert agent["agent_config"]["toolgroups"] == ["mcp::free"]
    bodies = json.dumps([seen.body for seen in fake.seen])
    assert "t-ada" not in bodies
    assert "token-bob" not in bodies


async def test_a_response_is_asked_for_with_what_its_caller_shows() -> None:
    """In the definition of the tool, which is sent anew each time; without it there is no tool."""
    fake = responses.FakeResponses()
    fake.scripts = [responses.Script(responses.answer("Hi")) for _ in range(3)]
    sent = []
    async with run_server(fake.app) as url:
        async with stack_at(ResponsesApiStack, url, mcp_servers=[TOOLS, FREE]) as stack:
            conversation = await stack.start_conversation("o")
            for credentials in (given("ada"), given("bob"), NO_CREDENTIALS):
                await run(stack, conversation, credentials=credentials)
                tools = [tool for tool in fake.asked["tools"] if tool["type"] == "mcp"]
                sent.append({tool["server_label"]: tool for tool in tools})
        fake.release.set()
    for name, by_label in zip(("ada", "bob"), sent[:2], strict=True):
        assert by_label["tools"]["headers"] == {"X-Token": f"t-{name}"}
        assert by_label["tools"]["authorization"] == f"token-{name}"
        assert by_label["free"].keys().isdisjoint({"headers", "authorization"})
    assert sent[2].keys() == {"free"}


@pytest.mark.parametrize(
    ("kind", "conversation_id"),
    [(AgentsApiStack, "a/s"), (ResponsesApiStack, "conv_1")],
)
async def test_an_oauth_token_is_asked_for_before_llama_stack_is(
    kind: type[BaseStack], conversation_id: str
) -> None:
    """It would not say what is missing; a turn that lost what was shown asks as well."""
    agents, answers = llama_stack.FakeLlamaStack(), responses.FakeResponses()
    agents.agents["a"] = {"agent_id": "a", "agent_config": {"model": "m"}}
    fake = agents if kind is AgentsApiStack else answers
    guarded = McpServer("Bearer good", challenge=CHALLENGE)
    async with run_server(guarded) as tools, run_server(fake.app) as url:
        servers = [tools_at(tools, Authorization="oauth")]
        async with stack_at(
            kind, url, mcp_servers=servers, inference={"default_model": "m"}
        ) as stack:
            (event,) = await run(stack, conversation_id)
            lost = Credentials(lost=("mcp_headers",))
            resumed = Resume("", ())
            (again,) = await run(stack, conversation_id, credentials=lost, resume=resumed)
    assert isinstance(event, AuthRequired)
    assert event.data["www_authenticate"] == CHALLENGE
    assert isinstance(again, AuthRequired)
    assert "not kept" in again.text
    assert not [seen for seen in fake.seen if "turn" in seen.path or "responses" in seen.path]


class Together:
    """Answers no server's request before all of them have one."""

    def __init__(self, statuses: dict[str, int]) -> None:
        self.statuses = statuses
        self.asked: list[str] = []
        self.all_are_asked = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse as the path says."""
        if scope["type"] != "http":
            return
        self.asked.append(scope["path"])
        if len(self.asked) == len(self.statuses):
            self.all_are_asked.set()
        await self.all_are_asked.wait()
        await Response(status_code=self.statuses[scope["path"]])(scope, receive, send)


async def test_servers_that_want_a_token_are_asked_at_the_same_time() -> None:
    """One that hangs holds up no other; the first in the order of the settings is named."""
    together = Together({"/a": 200, "/b": 401, "/c": 403})
    async with run_server(together) as url:
        servers = [
            tools_at(url, path[1:], Authorization="oauth") | {"url": f"{url}{path}"}
            for path in together.statuses
        ]
        settings = Settings.model_validate({"mcp_servers": servers})
        with anyio.fail_after(4):
            needed = await refusing(settings.mcp_servers, NO_CREDENTIALS)
    assert needed is not None
    assert needed.server.name == "b"
    assert sorted(together.asked) == ["/a", "/b", "/c"]


async def test_a_llama_stack_that_repeats_credentials_is_not_quoted() -> None:
    """As a server does that tells which part of a request it did not understand."""
    agents, answers = llama_stack.FakeLlamaStack(), responses.FakeResponses()
    said = "Error in {'authorization': 't-ada', 'token': 'token-ada'}"
    agents.scripts = [llama_stack.Script([llama_stack.failure(said)])]
    answers.scripts = [responses.Script([], status=422, error={"detail": said})]
    async with run_server(agents.app) as first, run_server(answers.app) as second:
        for kind, url in ((AgentsApiStack, first), (ResponsesApiStack, second)):
            async with stack_at(kind, url, mcp_servers=[TOOLS]) as stack:
                conversation = await stack.start_conversation("o")
                with pytest.raises(TurnFailed) as raised:
                    await run(stack, conversation, credentials=given("ada"))
            logged = "".join(traceback.format_exception(raised.value))
            assert "t-ada" not in logged
            assert "token-ada" not in logged
        answers.release.set()


# --- after a crash, and nowhere else


async def called(
    client: httpx.AsyncClient, method: str, params: Any, headers: dict[str, str]
) -> dict[str, Any]:
    """Call a method and return its result."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    result: dict[str, Any] = (await client.post("/a2a", json=body, headers=headers)).json()[
        "result"
    ]
    return result


def stored(folder: Path) -> list[str]:
    """Return the files of the database, byte by byte."""
    files = [path.read_bytes().decode("latin-1") for path in folder.glob("state.db*")]
    assert files
    return files


async def test_a_turn_that_runs_again_asks_for_what_is_not_kept(tmp_path: Path) -> None:
    """Its process was killed while the model answered; nothing secret is in the database or the log."""
    tools = McpServer("Bearer c4nary-caller")
    model = OpenAIServer(says("Let me", ending="hang"), SUM, says("42."))
    (tmp_path / "key").write_text("c4nary-file")
    async with run_server(tools) as url, run_server(model.app) as model_url:
        server = tools_at(url, Authorization="client", X_Key=str(tmp_path / "key"))
        process = Process(
            tmp_path,
            None,
            openai={"base_url": f"{model_url}/v1", "api_key": "k", "model": "tiny"},
            mcp_servers=[server],
            a2a_state={"sqlite": {"db_path": str(tmp_path / "state.db")}},
            a2a={"lease_seconds": 1.0},
            authentication={"module": "noop-with-token"},
        )
        caller = {"Authorization": "Bearer c4nary-bearer"}
        headers = shown(Authorization="Bearer c4nary-caller") | caller
        with anyio.fail_after(90):
            async with (
                running(process),
                httpx.AsyncClient(base_url=process.url, timeout=60) as client,
            ):
                message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "2+40?"}]}
                params = {"message": message, "configuration": {"returnImmediately": True}}
                sent = await called(client, "SendMessage", params, headers)
                named = {"id": sent["task"]["id"]}
                await model.hung.wait()
                process.kill()
                await process.start()

                async def waits() -> bool:
                    return state(await called(client, "GetTask", named, caller)) == "AUTH_REQUIRED"

                await until(waits)
                waiting = await called(client, "GetTask", named, caller)
                done = await send(client, "Here", headers, taskId=named["id"])
        log = process.log
    assert "not kept" in waiting["status"]["message"]["parts"][0]["text"]
    assert asked(waiting)["server"] == "tools"
    assert state(done) == "COMPLETED"
    assert tools.calls == [{"a": 2, "b": 40}]
    everything = [*stored(tmp_path), log, str(waiting), str(done)]
    assert not [found for found in everything if "c4nary" in found]


class Talkative:
    """An MCP server that fails every call with an error that repeats all that it was shown."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer 400, with a JSON-RPC error."""
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        body = await receive()
        said = " ".join(value.decode() for _, value in scope["headers"])
        request_id = json.loads(body["body"] or b"{}").get("id")
        error = JSONRPCError.model_validate(
            {"jsonrpc": "2.0", "id": request_id, "error": {"code": -32000, "message": said}}
        )
        head = {"type": "http.response.start", "status": 200}
        await send(head | {"headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": error.model_dump_json().encode()})


TURNS: dict[str, tuple[Reply, ...]] = {
    "succeeds": (SUM, says("42.")),
    "fails": (fails(500),),
    "is refused": (SUM, says("42.")),
    "meets a server that repeats it": (says("Hello."),),
}


@pytest.mark.parametrize("how", TURNS)
async def test_credentials_are_in_no_answer_log_or_database(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """However a turn ends, from a file, as a bearer token or in MCP-HEADERS; as streamed and as kept."""
    (tmp_path / "key").write_text("c4nary-file")
    model = OpenAIServer(*TURNS[how])
    tools: Any = McpServer("Bearer c4nary-bearer", challenge='Bearer scope="c4nary-caller"')
    if how == "is refused":
        tools.key = "Bearer other"
    elif how not in ("succeeds", "fails"):
        tools = Talkative()
    sources = {"Authorization": "kubernetes", "X_Token": "client", "X_Key": str(tmp_path / "key")}
    caller = {"Authorization": "Bearer c4nary-bearer"}
    headers = shown(X_Token="c4nary-caller") | caller
    heard: list[str] = []
    caplog.set_level(logging.DEBUG, "agent")
    caplog.set_level(logging.DEBUG, "a2a_state")
    async with run_server(tools) as url, run_server(model.app) as model_url:
        module = {"module": "noop-with-token"}
        server = tools_at(url, **sources)
        async with serving(tmp_path, server, model=model_url, authentication=module) as client:
            sent = await post(client, "2 + 40?", headers)
            task = sent.json()["result"]["task"]
            for method in ("GetTask", "ListTasks", "GetExtendedAgentCard"):
                body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"id": task["id"]}}
                heard.append((await client.post("/a2a", json=body, headers=caller)).text)
            heard.append((await client.get("/.well-known/agent-card.json")).text)
            heard.append(sent.text)
        heard.append(json.dumps(model.requests))
    expected = {"succeeds": "COMPLETED", "fails": "FAILED", "is refused": "AUTH_REQUIRED"}
    assert state(task) == expected.get(how, "COMPLETED")
    heard += stored(tmp_path)
    formatted = logging.Formatter()
    heard += [formatted.format(record) for record in caplog.records]
    heard += [str(vars(record)) for record in caplog.records]
    assert len(heard) > 6
    assert not [text for text in heard if "c4nary" in text]
