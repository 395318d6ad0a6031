"""The stack of the agents API against a fake server on a real socket."""

from __future__ import annotations

import socket
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.errors import (
    ContentTypeNotSupported,
    InvalidAgentResponse,
    InvalidParams,
    SettingsError,
    StackError,
    StackTimeout,
    StackUnavailable,
    TurnFailed,
)
from agent.settings import Settings
from agent.stacks import (
    Answer,
    AuthRequired,
    DataPart,
    FilePart,
    Health,
    InputRequired,
    Model,
    Part,
    Resume,
    TextDelta,
    TextPart,
    TurnCompleted,
    TurnEvent,
    TurnRequest,
)
from agent.stacks.agents_api import AgentsApiStack
from agent.stacks.client import ConversationLost, served_paths, stack_for
from agent.stacks.remote import RemoteStack
from tests.fakes.llama_stack import (
    FakeLlamaStack,
    Script,
    answer,
    call,
    ended,
    failure,
    question,
    started,
    text,
)
from tests.fakes.mcp_server import McpServer
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

TOOL = {"name": "get_weather", "description": "Weather", "input_schema": {"type": "object"}}
HELLO = (TextPart("Hello"),)
WEATHER = call("c1", "get_weather", '{"city": "Oslo"}')


def settings(url: str, **sections: Any) -> Settings:
    """Return settings for a server; a turn may be silent for five seconds."""
    stack = {"url": url, "timeout": 5} | sections.pop("llama_stack", {})
    agent = {"client_tools": [TOOL]} | sections.pop("agent", {})
    return Settings.model_validate({"llama_stack": stack, "agent": agent, **sections})


async def probe(configured: Settings) -> str:
    """Tell which stack the server needs."""
    return stack_for(await served_paths(configured))


@asynccontextmanager
async def stack_at(url: str, **sections: Any) -> AsyncIterator[AgentsApiStack]:
    """Open a stack for the server at ``url``."""
    stack = AgentsApiStack(settings(url, **sections))
    await stack.open()
    try:
        with anyio.fail_after(20):
            yield stack
    finally:
        await stack.close()


@asynccontextmanager
async def serving(fake: FakeLlamaStack, **sections: Any) -> AsyncIterator[AgentsApiStack]:
    """Run the fake server and a stack in front of it."""
    async with run_server(fake.app) as url, stack_at(url, **sections) as stack:
        yield stack


def request(conversation_id: str, *parts: Part, **more: Any) -> TurnRequest:
    """Return a message for a conversation."""
    return TurnRequest(
        conversation_id=conversation_id,
        task_id="t",
        context_id="c",
        message_id="m",
        owner="o",
        tenant="",
        parts=parts,
        **more,
    )


async def turn(
    stack: AgentsApiStack, conversation_id: str, *parts: Part, **more: Any
) -> list[TurnEvent]:
    """Run a turn and return all its events."""
    return [event async for event in stack.turn(request(conversation_id, *parts, **more))]


async def test_a_turn_streams_its_answer() -> None:
    """Unicode line separators within it are no line ends."""
    fake = FakeLlamaStack()
    fake.scripts = [Script(answer("Hé\u2028", "llo"))]
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        events = await turn(stack, conversation_id, *HELLO)
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["Hé\u2028", "llo"]
    assert events[-1] == TurnCompleted("end_of_turn", "Hé\u2028llo")
    (body,) = fake.bodies("POST", "/turn")
    assert body == {
        "messages": [{"role": "user", "content": "Hello"}],
        "documents": [],
        "stream": True,
    }


async def test_files_and_data_reach_the_server() -> None:
    """Texts and data as documents, images within the message."""
    fake = FakeLlamaStack()
    fake.scripts = [Script(answer("Seen"))]
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        await turn(
            stack,
            conversation_id,
            *HELLO,
            FilePart("a.txt", "text/plain", data=b"text"),
            FilePart("a.png", "image/png", data=b"png"),
            DataPart({"a": 1}),
        )
    (body,) = fake.bodies("POST", "/turn")
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "Hello"},
        {"type": "image", "image": {"data": "cG5n"}},
    ]
    assert body["documents"] == [
        {"content": "a.txt:\ntext", "mime_type": "text/plain"},
        {"content": '{"a":1}', "mime_type": "application/json"},
    ]


async def test_a_file_that_the_server_cannot_read_is_refused_before_it_is_sent() -> None:
    """The error names the media type."""
    fake = FakeLlamaStack()
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        with pytest.raises(ContentTypeNotSupported, match="application/pdf"):
            await turn(stack, conversation_id, FilePart("a.pdf", "application/pdf", data=b"x"))
    assert fake.bodies("POST", "/turn") == []


async def test_the_agent_is_created_once_and_found_again() -> None:
    """Also by another process, on whichever page of the list it is."""
    fake = FakeLlamaStack()
    fake.page = 2
    for number in range(5):
        fake.agents[f"a{number}"] = {"agent_id": f"a{number}", "agent_config": {"name": None}}
    async with run_server(fake.app) as url:
        async with stack_at(url) as first, stack_at(url) as second:
            one, two = await first.start_conversation("a"), await first.start_conversation("b")
            three = await second.start_conversation("a")
        async with stack_at(url, agent={"max_infer_iters": 3}) as changed:
            four = await changed.start_conversation("a")
    agents = [conversation_id.partition("/")[0] for conversation_id in (one, two, three, four)]
    assert agents[0] == agents[1] == agents[2] != agents[3]
    assert len({one, two, three}) == 3
    assert len(fake.bodies("POST", "/v1alpha/agents")) == 2
    (config, _) = [body["agent_config"] for body in fake.bodies("POST", "/v1alpha/agents")]
    assert config["model"] == "vllm/small"
    assert config["enable_session_persistence"] is True


@pytest.mark.parametrize(
    ("shields", "model"),
    [
        ([], "vllm/small"),
        (None, "vllm/small"),
        ([{"identifier": "guard", "provider_resource_id": "vllm/small"}], "vllm/other"),
    ],
)
async def test_without_a_configured_model_the_first_that_guards_nothing_answers(
    shields: list[Any] | None, model: str
) -> None:
    """A server lists the models of its shields among the others; it may have no shields at all."""
    fake = FakeLlamaStack()
    fake.shields = shields
    async with serving(fake) as stack:
        await stack.start_conversation("alice")
    (agent,) = fake.agents.values()
    assert agent["agent_config"]["model"] == model


async def test_parallel_first_conversations_create_one_agent() -> None:
    """They wait for the one that creates it."""
    fake = FakeLlamaStack()
    async with serving(fake) as stack, anyio.create_task_group() as group:
        for owner in ("a", "b", "c"):
            group.start_soon(stack.start_conversation, owner)
    assert len(fake.agents) == 1
    assert len(fake.sessions) == 3


async def test_an_old_conversation_goes_on_with_its_own_agent() -> None:
    """A session belongs to the agent that it was started with."""
    fake = FakeLlamaStack()
    fake.scripts = [Script(answer("Still here"))]
    async with run_server(fake.app) as url:
        async with stack_at(url) as stack:
            conversation_id = await stack.start_conversation("alice")
        async with stack_at(url, agent={"max_infer_iters": 3}) as changed:
            events = await turn(changed, conversation_id, *HELLO)
    assert events[-1] == TurnCompleted("end_of_turn", "Still here")
    assert len(fake.agents) == 1


async def test_a_server_that_has_lost_its_agents_gets_a_new_one() -> None:
    """New conversations go on; an old one is told to be lost."""
    fake = FakeLlamaStack()
    fake.scripts = [Script(answer("Hi"))]
    async with serving(fake) as stack:
        old = await stack.start_conversation("alice")
        fake.forget()
        new = await stack.start_conversation("alice")
        assert (await turn(stack, new, *HELLO))[-1] == TurnCompleted("end_of_turn", "Hi")
        with pytest.raises(ConversationLost, match="no longer known to Llama Stack"):
            await turn(stack, old, *HELLO)


@pytest.mark.parametrize(
    "conversation_id", ["conv_123", "a/b/c", "../x", "a/..", "a/b?c", "a/b/conv_1/c", ""]
)
async def test_an_id_of_another_stack_is_a_lost_conversation(conversation_id: str) -> None:
    """It never becomes part of a path."""
    fake = FakeLlamaStack()
    async with serving(fake) as stack:
        with pytest.raises(ConversationLost):
            await turn(stack, conversation_id, *HELLO)
        assert await stack.outcome(conversation_id, "t") is None
    assert fake.seen == []


async def test_mcp_servers_are_registered_once_and_given_to_the_agent(tmp_path: Any) -> None:
    """Their credentials travel with each turn."""
    (tmp_path / "token").write_text("Bearer abc")
    server = {
        "name": "sums",
        "url": "http://mcp:1/sse",
        "authorization_headers": {"Authorization": str(tmp_path / "token")},
    }
    fake = FakeLlamaStack()
    fake.scripts = [Script(answer("Hi"))]
    async with run_server(fake.app) as url:
        for _ in range(2):
            async with stack_at(url, mcp_servers=[server]) as stack:
                conversation_id = await stack.start_conversation("alice")
        async with stack_at(url, mcp_servers=[server]) as stack:
            await turn(stack, conversation_id, *HELLO)
    assert fake.bodies("POST", "/v1/toolgroups") == [
        {
            "provider_id": "model-context-protocol",
            "toolgroup_id": "mcp::sums",
            "mcp_endpoint": {"uri": "http://mcp:1/sse"},
        }
    ]
    (agent,) = fake.agents.values()
    assert agent["agent_config"]["toolgroups"] == ["mcp::sums"]
    (seen,) = [each for each in fake.seen if each.path.endswith("/turn")]
    assert "Bearer abc" in seen.headers["x-llamastack-provider-data"]


async def test_an_mcp_server_whose_credentials_are_missing_is_left_out_of_turns(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Until they are there; the agent has it all the time."""
    token = tmp_path / "token"
    server = {"url": "http://mcp:1", "authorization_headers": {"Authorization": str(token)}}
    servers = [{"name": "sums", **server}, {"name": "open", "url": "http://mcp:2"}]
    fake = FakeLlamaStack()
    fake.scripts = [Script(answer("Hi")), Script(answer("Hi"))]
    async with serving(fake, mcp_servers=servers) as stack:
        conversation_id = await stack.start_conversation("alice")
        await turn(stack, conversation_id, *HELLO)
        token.write_text("Bearer abc")
        await turn(stack, conversation_id, *HELLO)
    without, whole = fake.bodies("POST", "/turn")
    assert without["toolgroups"] == ["mcp::open"]
    assert "toolgroups" not in whole
    assert "Tools of sums are left out of a turn" in caplog.text


async def test_a_tool_group_with_another_url_is_left_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is not ours to replace; the log says so."""
    fake = FakeLlamaStack()
    fake.toolgroups = [{"identifier": "mcp::sums", "mcp_endpoint": {"uri": "http://other:1"}}]
    async with serving(fake, mcp_servers=[{"name": "sums", "url": "http://mcp:1"}]) as stack:
        await stack.start_conversation("alice")
    assert fake.bodies("POST", "/v1/toolgroups") == []
    assert "mcp::sums with another URL" in caplog.text


async def test_a_turn_waits_for_a_client_tool_and_goes_on_with_its_result() -> None:
    """The name of the tool is the server's to know."""
    fake = FakeLlamaStack()
    fake.scripts = [Script(question(WEATHER)), Script(answer("Rain"))]
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        asked = (await turn(stack, conversation_id, *HELLO))[-1]
        assert isinstance(asked, InputRequired)
        turn_id = fake.sessions[conversation_id.split("/")[1]][0]["turn_id"]
        assert await stack.outcome(conversation_id, turn_id) is None
        resume = Resume(turn_id, (Answer("c1", "12C"),))
        events = await turn(stack, conversation_id, resume=resume)
        assert events[-1] == TurnCompleted("end_of_turn", "Rain")
        assert await stack.outcome(conversation_id, turn_id) == events[-1]
    (body,) = fake.bodies("POST", "/resume")
    assert body == {
        "tool_responses": [{"call_id": "c1", "tool_name": "get_weather", "content": "12C"}],
        "stream": True,
    }


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ((Answer("c9", "x"),), "no tool call c9 waits"),
        ((Answer("c1", "x"),), "the tool call c2 has no result"),
        ((), "has no result"),
    ],
)
async def test_a_result_must_be_of_the_calls_that_wait(
    answers: tuple[Answer, ...], problem: str
) -> None:
    """The server would run on with anything."""
    fake = FakeLlamaStack()
    fake.scripts = [Script(question(WEATHER, call("c2", "get_weather"), call("c3", "add")))]
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        await turn(stack, conversation_id, *HELLO)
        turn_id = fake.sessions[conversation_id.split("/")[1]][0]["turn_id"]
        with pytest.raises(InvalidParams, match=problem):
            await turn(stack, conversation_id, resume=Resume(turn_id, answers))
    assert fake.bodies("POST", "/resume") == []


async def test_a_question_cannot_be_answered_after_the_conversation_went_on() -> None:
    """The server would take the answer for one to its last turn."""
    fake = FakeLlamaStack()
    fake.scripts = [Script(question(WEATHER, turn_id="t1")), Script(answer("Hi", turn_id="t2"))]
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        await turn(stack, conversation_id, *HELLO)
        await turn(stack, conversation_id, *HELLO)
        for turn_id in ("t1", "unknown"):
            with pytest.raises(TurnFailed, match="has gone on"):
                await turn(stack, conversation_id, resume=Resume(turn_id, (Answer("c1", "12C"),)))
    assert fake.bodies("POST", "/resume") == []


async def test_a_question_is_answered_after_a_restart() -> None:
    """The session on the server knows what waits."""
    fake = FakeLlamaStack()
    fake.scripts = [Script(question(WEATHER)), Script(answer("Rain"))]
    async with run_server(fake.app) as url:
        async with stack_at(url) as stack:
            conversation_id = await stack.start_conversation("alice")
            await turn(stack, conversation_id, *HELLO)
        turn_id = fake.sessions[conversation_id.split("/")[1]][0]["turn_id"]
        async with stack_at(url) as stack:
            resume = Resume(turn_id, (Answer("c1", "12C"),))
            events = await turn(stack, conversation_id, resume=resume)
            assert await stack.outcome(conversation_id, turn_id) == events[-1]
    assert events[-1] == TurnCompleted("end_of_turn", "Rain")


REFUSED = (
    "401: Authentication required: Client error '401 Unauthorized' for url '{url}'\n"
    "For more information check: https://developer.mozilla.org/en-US/docs/Web/HTTP/Status/401"
)


async def test_a_tool_server_that_wants_credentials_interrupts_the_turn() -> None:
    """Llama Stack names it by its URL; a follow-up tries again with what the turn was about."""
    fake = FakeLlamaStack()
    url = "http://tools.org/mcp?key=secret"
    fake.scripts = [Script([failure(REFUSED.format(url=url))]), Script(answer("42"))]
    servers = [{"name": "other", "url": "http://tools.org/mcp"}, {"name": "tools", "url": url}]
    async with serving(fake, mcp_servers=servers) as stack:
        conversation_id = await stack.start_conversation("alice")
        asked = (await turn(stack, conversation_id, *HELLO))[-1]
        parts = (*HELLO, TextPart("Now"))
        events = await turn(stack, conversation_id, *parts, resume=Resume("", ()))
    assert isinstance(asked, AuthRequired)
    assert asked.data == {"type": "auth", "server": "tools", "url": "http://tools.org"}
    assert "secret" not in asked.text
    assert events[-1] == TurnCompleted("end_of_turn", "42")
    assert fake.bodies("POST", "/turn")[1]["messages"][0]["content"] == [
        {"type": "text", "text": "Hello"},
        {"type": "text", "text": "Now"},
    ]


NO_GROUP = failure("400: Invalid value: Toolgroup mcp::tools not found, available toolgroups: x")
FAILED = failure("500: Internal server error: An unexpected error occurred.")


@pytest.mark.parametrize("chunks", [[NO_GROUP], [started("tool_execution"), FAILED]])
async def test_a_tool_server_is_asked_where_llama_stack_does_not_tell(chunks: list[Any]) -> None:
    """It says of a server that answers 403 that the tool group is not known."""
    fake = FakeLlamaStack()
    fake.scripts = [Script(chunks), Script(chunks)]
    guarded = McpServer("Bearer good", status=403)
    async with run_server(guarded) as tools:
        servers = [{"name": "tools", "url": f"{tools}/mcp"}]
        async with serving(fake, mcp_servers=servers) as stack:
            conversation_id = await stack.start_conversation("alice")
            refused = (await turn(stack, conversation_id, *HELLO))[-1]
            guarded.key = None
            with pytest.raises(TurnFailed):
                await turn(stack, conversation_id, *HELLO)
    assert isinstance(refused, AuthRequired)
    assert refused.data["server"] == "tools"


async def test_a_failure_that_has_nothing_to_do_with_tools_asks_no_tool_server() -> None:
    """Nor does one after them."""
    fake = FakeLlamaStack()
    chunks = [started("tool_execution"), ended("tool_execution", tool_responses=[])]
    fake.scripts = [Script([FAILED]), Script([*chunks, FAILED])]
    guarded = McpServer("Bearer good")
    async with run_server(guarded) as tools:
        servers = [{"name": "tools", "url": f"{tools}/mcp"}]
        async with serving(fake, mcp_servers=servers) as stack:
            conversation_id = await stack.start_conversation("alice")
            for _ in range(2):
                with pytest.raises(TurnFailed):
                    await turn(stack, conversation_id, *HELLO)
    assert guarded.seen == []


@pytest.mark.parametrize("asked", ["always", ["add"]])
async def test_approval_that_this_llama_stack_cannot_ask_for_is_told_at_start(asked: Any) -> None:
    """Tools that somebody wants to approve must not be called without."""
    server = {"name": "tools", "url": "http://tools.org/mcp", "require_approval": asked}
    with pytest.raises(SettingsError, match=r"mcp_servers\[0\]\.require_approval"):
        await AgentsApiStack(settings("http://127.0.0.1:9", mcp_servers=[server])).open()


async def test_closing_a_turn_of_a_llama_stack_at_a_url_closes_its_stream() -> None:
    """Whichever stack was found for it."""
    fake = FakeLlamaStack()
    fake.scripts = [Script([text("a")], then="wait")]
    async with run_server(fake.app) as url:
        stack = RemoteStack(settings(url))
        await stack.open()
        try:
            with anyio.fail_after(10):
                conversation_id = await stack.start_conversation("alice")
                turn_: Any = stack.turn(request(conversation_id, *HELLO))
                await anext(turn_)
                await turn_.aclose()
                await fake.gone.wait()
        finally:
            await stack.close()


async def test_the_outcome_is_known_for_turns_that_ended() -> None:
    """The server keeps no other turns."""
    fake = FakeLlamaStack()
    fake.scripts = [Script(answer("Hi", turn_id="t1")), Script(answer("Ho")[:-1])]
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        await turn(stack, conversation_id, *HELLO)
        with pytest.raises(TurnFailed):
            await turn(stack, conversation_id, *HELLO)
        assert await stack.outcome(conversation_id, "t1") == TurnCompleted("end_of_turn", "Hi")
        assert await stack.outcome(conversation_id, "t2") is None
        fake.forget()
        assert await stack.outcome(conversation_id, "t1") is None


async def test_the_outcome_cannot_be_told_while_the_server_is_down() -> None:
    """That is another thing than a turn that is not known; there is nothing to cancel."""
    async with stack_at("http://127.0.0.1:9") as stack:
        for _ in range(2):
            await stack.cancel("agent/session", "turn")
            with pytest.raises(StackUnavailable):
                await stack.outcome("agent/session", "turn")


async def test_a_server_that_is_not_well_is_told_as_such() -> None:
    """It answers, but turns may fail."""
    fake = FakeLlamaStack()
    fake.status = "Error"
    async with serving(fake) as stack:
        assert not (await stack.health()).ok


async def test_closing_the_iterator_closes_the_stream() -> None:
    """That is what cancels the turn on the server; the conversation goes on."""
    fake = FakeLlamaStack()
    fake.scripts = [Script([text("one ")], then="wait"), Script(answer("Hi"))]
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        async with aclosing(stack.turn(request(conversation_id, *HELLO))) as events:
            assert await anext(events) == TextDelta("one ")
        with anyio.fail_after(5):
            await fake.gone.wait()
        assert (await turn(stack, conversation_id, *HELLO))[-1] == TurnCompleted(
            "end_of_turn", "Hi"
        )


async def test_cancelling_the_task_closes_the_stream() -> None:
    """A turn that is waited for can be given up too."""
    fake = FakeLlamaStack()
    fake.scripts = [Script([text("one ")], then="wait")]
    heard = anyio.Event()

    async def listen(stack: AgentsApiStack, conversation_id: str) -> None:
        async for _ in stack.turn(request(conversation_id, *HELLO)):
            heard.set()

    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        async with anyio.create_task_group() as group:
            group.start_soon(listen, stack, conversation_id)
            await heard.wait()
            group.cancel_scope.cancel()
        with anyio.fail_after(5):
            await fake.gone.wait()


async def test_a_stream_that_ends_early_is_a_failed_turn() -> None:
    """What was heard is not taken for the answer."""
    fake = FakeLlamaStack()
    fake.scripts = [Script([text("one ")])]
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        with pytest.raises(TurnFailed, match="broke off the answer"):
            await turn(stack, conversation_id, *HELLO)


async def test_a_connection_that_breaks_is_a_failed_turn() -> None:
    """The same, seen by HTTP."""
    fake = FakeLlamaStack()
    fake.scripts = [Script([text("one ")], then="break")]
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        with pytest.raises(TurnFailed, match="connection to Llama Stack broke"):
            await turn(stack, conversation_id, *HELLO)


async def test_an_error_within_the_stream_is_raised() -> None:
    """The status of the answer was 200."""
    fake = FakeLlamaStack()
    fake.scripts = [Script([text("one "), failure("429: upstream says secret")])]
    async with serving(fake) as stack:
        conversation_id = await stack.start_conversation("alice")
        with pytest.raises(TurnFailed) as raised:
            await turn(stack, conversation_id, *HELLO)
    assert raised.value.message == "The model is busy; try again later."


async def test_silence_longer_than_the_timeout_ends_a_turn() -> None:
    """The time runs between events."""
    fake = FakeLlamaStack()
    fake.scripts = [Script([text("one ")], then="wait")]
    async with serving(fake, llama_stack={"timeout": 1}) as stack:
        conversation_id = await stack.start_conversation("alice")
        with pytest.raises(StackTimeout):
            await turn(stack, conversation_id, *HELLO)


async def test_a_server_that_comes_up_later_is_found_then() -> None:
    """Opening the stack does not need it; what needs it says that it is not there."""
    fake = FakeLlamaStack()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        down = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with stack_at(down) as stack:
        with pytest.raises(StackUnavailable):
            await stack.start_conversation("alice")
        with pytest.raises(StackUnavailable):
            await turn(stack, "a/b", *HELLO)
        assert await stack.health() == Health(
            ok=False, detail="The stack behind this agent cannot be reached."
        )
        with pytest.raises(StackUnavailable):
            await probe(stack.settings)
        async with run_server(fake.app) as url:
            stack.client.base_url = url
            assert await stack.start_conversation("alice")


async def test_a_stack_that_is_not_open_is_unavailable() -> None:
    """Before it is opened and after it is closed, which may happen twice."""
    stack = AgentsApiStack(settings("http://127.0.0.1:1"))
    with pytest.raises(StackUnavailable):
        await stack.models()
    await stack.close()
    await stack.open()
    await stack.close()
    await stack.close()
    with pytest.raises(StackUnavailable):
        await turn(stack, "a/b", *HELLO)


async def test_the_key_is_shown_and_a_wrong_one_refused() -> None:
    """The version of the client is never shown: servers of other versions refuse it."""
    fake = FakeLlamaStack(api_key="right")
    async with run_server(fake.app) as url:
        async with stack_at(url, llama_stack={"api_key": "right"}) as stack:
            assert await stack.version() == "0.3.5"
            assert await probe(stack.settings) == "agents_api"
        async with stack_at(url, llama_stack={"api_key": "wrong"}) as stack:
            with pytest.raises(StackUnavailable, match="credentials"):
                await stack.version()
            with pytest.raises(StackUnavailable, match="credentials"):
                await probe(stack.settings)


async def test_the_catalogue_is_the_servers() -> None:
    """Models, shields, tools, providers, vector stores on all pages, version and health."""
    fake = FakeLlamaStack()
    fake.shields = [{"identifier": "guard", "type": "shield"}]
    async with serving(fake) as stack:
        assert list(await stack.models()) == [
            Model("vllm/small", "vllm"),
            Model("vllm/other", "vllm"),
            Model("vllm/embed", "vllm", "embedding"),
        ]
        assert await stack.shields() == [{"identifier": "guard", "type": "shield"}]
        fake.toolgroups = [{"identifier": "mcp::sums", "provider_id": "mcp"}]
        (tool,) = await stack.tools()
        assert tool == {"name": "add", "toolgroup_id": "mcp::sums", "provider_id": "mcp"}
        assert await stack.providers() == [{"api": "safety", "provider_id": "guard"}]
        assert await stack.vector_stores() == [{"id": "vs_1"}, {"id": "vs_2"}]
        assert await stack.health() == Health(ok=True)


async def page_of_somebody_else(scope: Any, receive: Any, send: Any) -> None:
    """Answer everything with a page of HTML."""
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    headers = [(b"content-type", b"text/html")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"<html>Welcome</html>"})


async def test_a_server_that_is_no_llama_stack_is_not_understood() -> None:
    """The URL may be wrong: that is an error of ours, not an AttributeError."""
    async with run_server(page_of_somebody_else) as url, stack_at(url) as stack:
        assert await probe(stack.settings) == "responses_api"
        for asked in (stack.models(), stack.version(), stack.start_conversation("alice")):
            with pytest.raises(InvalidAgentResponse):
                await asked
        with pytest.raises(StackError):
            await turn(stack, "a/b", *HELLO)
        assert not (await stack.health()).ok


async def test_a_server_without_the_agents_api_needs_the_other_stack() -> None:
    """Its OpenAPI document tells."""
    fake = FakeLlamaStack()
    fake.paths = ["/v1/responses"]
    async with run_server(fake.app) as url:
        assert await probe(settings(url)) == "responses_api"
