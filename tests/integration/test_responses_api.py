"""The stack on the Responses API, through the real client, over a real socket."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.errors import (
    InvalidAgentResponse,
    InvalidParams,
    ModelNotFound,
    PromptTooLong,
    StackError,
    StackTimeout,
    StackUnavailable,
    TurnFailed,
)
from agent.settings import Settings
from agent.stacks.base import Health, Model
from agent.stacks.client import ConversationLost
from agent.stacks.responses_api import ResponsesApiStack
from agent.stacks.turn import (
    Answer,
    AuthRequired,
    Citation,
    ClientTool,
    Failed,
    Inference,
    Inferred,
    InputRequired,
    Rejected,
    Resume,
    StepEnded,
    StepStarted,
    TextDelta,
    TextPart,
    TurnCompleted,
    TurnOptions,
    TurnRequest,
    TurnStarted,
    Usage,
)
from tests.fakes.mcp_server import McpServer
from tests.fakes.responses import (
    RESPONSE,
    FakeResponses,
    Script,
    answer,
    approval,
    call,
    created,
    delta,
    final,
    message,
    model,
    refusal,
    response,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from agent.stacks.base import Stack
    from agent.stacks.turn import TurnEvent

    type RunServer = Callable[[Any], AbstractAsyncContextManager[str]]

pytestmark = pytest.mark.anyio

CONVERSATION = "conv_" + "0" * 48
NOBODY = "http://127.0.0.1:9"
SUMS = {"name": "sums", "url": "http://sums/mcp"}
RAG = {"name": "builtin::rag", "args": {"vector_db_ids": ["vs_0"]}}


class Hasty(ResponsesApiStack):
    """Does not wait long for the server to hang up."""

    settle_seconds = 0.05


@pytest.fixture
async def server(run_server: RunServer) -> AsyncIterator[tuple[FakeResponses, str]]:
    """Return a server that runs, and its URL."""
    fake = FakeResponses()
    async with run_server(fake.app) as url:
        yield fake, url
        fake.release.set()


@asynccontextmanager
async def opened(
    url: str, kind: type[ResponsesApiStack] = ResponsesApiStack, **sections: Any
) -> AsyncIterator[Stack]:
    """Open a stack on the server at ``url``; it has what ``sections`` say, and nothing unasked."""
    agent = {"toolgroups": [], "input_shields": [], **sections.pop("agent", {})}
    settings = {"llama_stack": {"url": url, "timeout": 5}, "agent": agent, **sections}
    stack = kind(Settings.model_validate(settings))
    await stack.open()
    try:
        with anyio.fail_after(10):
            yield stack
    finally:
        await stack.close()


def request(text: str = "Hello", **fields: Any) -> TurnRequest:
    """Return a message of a user."""
    return TurnRequest(
        **{
            "conversation_id": CONVERSATION,
            "task_id": "t",
            "context_id": "c",
            "message_id": "m",
            "owner": "o",
            "tenant": "",
            "parts": (TextPart(text),),
            **fields,
        }
    )


async def run(stack: Stack, wanted: TurnRequest | None = None) -> list[TurnEvent]:
    """Run a turn to its end."""
    return [event async for event in stack.turn(wanted or request())]


async def failure(stack: Stack, wanted: TurnRequest | None = None) -> StackError:
    """Run a turn that fails."""
    with pytest.raises(StackError) as caught:
        await run(stack, wanted)
    return caught.value


async def test_a_conversation_is_one_of_the_servers(server: tuple[FakeResponses, str]) -> None:
    """Each has an id of its own."""
    _, url = server
    async with opened(url) as stack:
        first, second = await stack.start_conversation("o"), await stack.start_conversation("o")

    assert first.startswith("conv_")
    assert first != second


async def test_a_turn_is_a_response_in_the_conversation(server: tuple[FakeResponses, str]) -> None:
    """Its answer comes as it is written."""
    fake, url = server
    fake.scripts = [Script(answer("Good ", "day"))]
    async with opened(url, agent={"instructions": "Be polite."}) as stack:
        events = await run(stack)

    assert events == [
        TurnStarted(RESPONSE, "vllm/small"),
        TextDelta("Good "),
        TextDelta("day"),
        Usage(7, 3),
        TurnCompleted("end_of_turn", "Good day"),
    ]
    assert fake.asked == {
        "model": "vllm/small",
        "conversation": CONVERSATION,
        "instructions": "Be polite.",
        "input": "Hello",
        "tools": [],
        "max_infer_iters": 10,
        "stream": True,
    }


async def test_text_comes_through_as_it_is(server: tuple[FakeResponses, str]) -> None:
    """Some characters end a line for everything but a stream of events."""
    fake, url = server
    odd = 'a\u2028b\u0085c\x0bd \N{SNOWMAN}\r\n\t"\\'
    fake.scripts = [Script(answer(odd))]
    async with opened(url) as stack:
        events = await run(stack, request(odd))

    assert events[-1] == TurnCompleted("end_of_turn", odd)
    assert fake.asked["input"] == odd


@pytest.mark.parametrize(
    ("inference", "asked"),
    [
        ({"default_model": "small", "default_provider": "vllm"}, "vllm/small"),
        ({"default_model": "vllm/small", "default_provider": "vllm"}, "vllm/small"),
        ({"default_model": "small"}, "vllm/small"),
    ],
)
async def test_the_configured_model_is_asked(
    server: tuple[FakeResponses, str], inference: dict[str, str], asked: str
) -> None:
    """As the server knows it, and told with its provider; models are listed once for that."""
    fake, url = server
    fake.scripts = [Script(answer("Hi")), Script(answer("Hi"))]
    async with opened(url, inference=inference) as stack:
        events = await run(stack)
        await run(stack)

    assert fake.asked["model"] == asked
    assert events[0] == TurnStarted(RESPONSE, "vllm/small")
    assert [each.path for each in fake.seen].count("/v1/models") == 1


async def test_a_configured_model_that_is_not_listed_is_the_servers_to_judge(
    server: tuple[FakeResponses, str],
) -> None:
    """Some servers pass on what they have not listed."""
    fake, url = server
    fake.scripts = [Script(answer("Hi"))]
    async with opened(url, inference={"default_model": "far/off"}) as stack:
        events = await run(stack)

    assert events[0] == TurnStarted(RESPONSE, "far/off")


@pytest.mark.parametrize("wanted", ["vllm/other", "other"])
async def test_the_model_of_the_message_wins(
    server: tuple[FakeResponses, str], wanted: str
) -> None:
    """With or without its provider."""
    fake, url = server
    fake.scripts = [Script(answer("Hi"))]
    async with opened(url, inference={"default_model": "small"}) as stack:
        events = await run(stack, request(model=wanted))

    assert fake.asked["model"] == "vllm/other"
    assert events[0] == TurnStarted(RESPONSE, "vllm/other")


@pytest.mark.parametrize("wanted", ["other/small", "embed", "vllm/embed", "nothing", ""])
async def test_a_model_that_is_not_there_is_told_before_the_turn(
    server: tuple[FakeResponses, str], wanted: str
) -> None:
    """One that only embeds texts too."""
    fake, url = server
    async with opened(url) as stack:
        error = await failure(stack, request(model=wanted))

    assert type(error) is ModelNotFound
    assert not [each for each in fake.seen if each.path == "/v1/responses"]


async def test_a_model_that_came_later_is_found(server: tuple[FakeResponses, str]) -> None:
    """The list is read again for a name that it did not have."""
    fake, url = server
    fake.scripts = [Script(answer("Hi"))] * 2
    async with opened(url) as stack:
        await run(stack)
        fake.models.append(model("vllm/new"))
        await run(stack, request(model="vllm/new"))

    assert fake.asked["model"] == "vllm/new"


async def test_options_are_what_the_response_is_asked_for(
    server: tuple[FakeResponses, str],
) -> None:
    """In place of what the settings say; shields are looked for before."""
    fake, url = server
    fake.scripts = [Script(answer("Hi"))]
    options = TurnOptions(
        instructions="Be brief.", vector_store_ids=("vs_1", "vs_2"), shields=("guard",)
    )
    sections: dict[str, Any] = {
        "agent": {"toolgroups": [RAG, "builtin::websearch"], "input_shields": ["usual"]},
        "mcp_servers": [SUMS],
    }
    async with opened(url, **sections) as stack:
        await run(stack, request(options=options))
        with pytest.raises(InvalidParams, match="there is no shield nothing"):
            await run(stack, request(options=TurnOptions(shields=("guard", "nothing"))))

    assert fake.asked["instructions"] == "Be brief."
    assert fake.asked["guardrails"] == ["guard"]
    first, *others = fake.asked["tools"]
    assert first == {"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"]}
    assert [tool["type"] for tool in others] == ["web_search", "mcp"]


async def test_without_tools_there_are_none(server: tuple[FakeResponses, str]) -> None:
    """Nor are credentials asked for that only they need."""
    fake, url = server
    fake.scripts = [Script(answer("Hi"))]
    sums = SUMS | {"authorization_headers": {"Authorization": "oauth"}}
    options = TurnOptions(no_tools=True, vector_store_ids=("vs_1",))
    given = (ClientTool("weather", "", {}),)
    async with opened(url, agent={"toolgroups": [RAG]}, mcp_servers=[sums]) as stack:
        events = await run(stack, request(options=options, tools=given))

    assert fake.asked["tools"] == []
    assert events[-1] == TurnCompleted("end_of_turn", "Hi")


async def test_an_inference_is_a_response_that_is_not_kept(
    server: tuple[FakeResponses, str],
) -> None:
    """With the shields of the settings, and none of their tools."""
    fake, url = server
    fake.scripts = [
        Script(answer("Because.")),
        Script([created(), final("completed", refusal("I won't."))]),
    ]
    wanted = Inference(text="Why?", instructions="Be brief.", owner="o", model="other")
    agent = {"toolgroups": [RAG], "input_shields": ["guard"]}
    async with opened(url, agent=agent, solr={"enabled": True}, mcp_servers=[SUMS]) as stack:
        inferred = await stack.infer(wanted)
        with pytest.raises(TurnFailed, match="I won't"):
            await stack.infer(wanted)

    assert inferred == Inferred("Because.", "vllm/other", Usage(7, 3))
    assert fake.asked == {
        "model": "vllm/other",
        "input": "Why?",
        "instructions": "Be brief.",
        "tools": [],
        "guardrails": ["guard"],
        "max_infer_iters": 10,
        "store": False,
        "stream": True,
    }
    assert fake.conversations == {}


@pytest.mark.parametrize(
    "said",
    [
        {"error": {"message": "Error code: 400 - maximum context length is 4096", "code": "400"}},
        {"type": "error", "code": "context_length_exceeded", "message": "context_length_exceeded"},
        {"error": {"message": "400: your prompt is too long: 200001 tokens"}},
    ],
)
async def test_a_conversation_that_is_too_long_is_told_as_such(
    server: tuple[FakeResponses, str], said: Any
) -> None:
    """In the words of several model servers; for a turn and outside of one."""
    fake, url = server
    fake.scripts = [Script([created(), said])] * 2
    async with opened(url) as stack:
        assert type(await failure(stack)) is PromptTooLong
        with pytest.raises(PromptTooLong):
            await stack.infer(Inference(text="x", instructions="", owner="o"))


async def test_a_deleted_conversation_is_gone(server: tuple[FakeResponses, str]) -> None:
    """Twice is no error, and what is of another stack was never there; a server that is down tells."""
    fake, url = server
    async with opened(url) as stack:
        conversation_id = await stack.start_conversation("o")
        for _ in range(2):
            await stack.delete_conversation(conversation_id)
        asked = len(fake.seen)
        await stack.delete_conversation("a/b")
        await stack.delete_conversation("conv_1/../x")
    assert fake.conversations == {}
    assert len(fake.seen) == asked
    async with opened(NOBODY) as stack:
        with pytest.raises(StackUnavailable):
            await stack.delete_conversation(conversation_id)


async def test_documents_of_solr_go_before_the_message(server: tuple[FakeResponses, str]) -> None:
    """And are cited before anything is said."""
    fake, url = server
    fake.scripts = [Script(answer("Hi"))]
    fake.found = {"chunks": [{"content": [{"type": "text", "text": "Pods restart."}]}]}
    async with opened(url, solr={"enabled": True}) as stack:
        events = await run(stack, request("Why?"))

    assert events[0] == Citation("portal-rag", None, "Pods restart.")
    assert fake.asked["input"].startswith("These documents may help")
    assert "[1] portal-rag\nPods restart." in fake.asked["input"]
    assert fake.asked["input"].endswith("The message:\n\nWhy?")


async def test_tools_of_mcp_servers_that_the_server_does_not_list_are_asked_of_those(
    server: tuple[FakeResponses, str], run_server: RunServer, caplog: pytest.LogCaptureFixture
) -> None:
    """In the shape of the others; one that cannot be asked is left out, and one only for callers."""
    fake, url = server
    fake.not_served["/v1/tools"] = 404
    async with run_server(McpServer()) as tools_url:
        servers: list[Any] = [
            {"name": "here", "url": f"{tools_url}/mcp", "provider_id": "mcp"},
            {"name": "down", "url": NOBODY},
            {"name": "mine", "url": NOBODY, "authorization_headers": {"X-Key": "client"}},
        ]
        async with opened(url, mcp_servers=servers) as stack:
            rows = await stack.tools()

    assert {(row["toolgroup_id"], row["provider_id"]) for row in rows} == {("mcp::here", "mcp")}
    (add,) = [row for row in rows if row["name"] == "add"]
    assert add["input_schema"]["type"] == "object"
    assert "the tools of down cannot be listed" in caplog.text


async def test_an_mcp_server_whose_credentials_are_missing_is_left_out_of_turns(
    server: tuple[FakeResponses, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Until they are there: the others do their work meanwhile."""
    fake, url = server
    fake.scripts = [Script(answer("Hi")), Script(answer("Hi"))]
    token = tmp_path / "token"
    headers = {"authorization_headers": {"Authorization": str(token)}}
    async with opened(url, mcp_servers=[SUMS | headers, SUMS | {"name": "open"}]) as stack:
        await run(stack)
        without = fake.asked["tools"]
        token.write_text("Bearer abc")
        await run(stack)

    assert [tool["server_label"] for tool in without] == ["open"]
    assert [tool["server_label"] for tool in fake.asked["tools"]] == ["sums", "open"]
    assert "Tools of sums are left out of a turn" in caplog.text


async def test_the_first_language_model_is_found_once_and_again_when_it_is_gone(
    server: tuple[FakeResponses, str],
) -> None:
    """Embedding models come first in this list, and one that is a shield's."""
    fake, url = server
    fake.models.insert(0, model("vllm/guard"))
    fake.shields = [{"identifier": "guard", "provider_resource_id": "vllm/guard"}]
    gone = {"error": {"message": "Model 'vllm/small' not found.", "code": "404"}}
    fake.scripts = [Script(answer("Hi")), Script([created(), gone]), Script(answer("Hi"))]
    async with opened(url) as stack:
        await run(stack)
        assert fake.asked["model"] == "vllm/small"
        error = await failure(stack)
        fake.models = [model("vllm/new")]
        await run(stack)

    assert type(error) is ModelNotFound
    paths = [each.path.removeprefix("/v1/") for each in fake.seen]
    looked = ["models", "shields", "responses"]
    assert paths == [*looked, "responses", *looked]
    assert fake.asked["model"] == "vllm/new"


async def test_without_a_language_model_there_is_no_turn(server: tuple[FakeResponses, str]) -> None:
    """Whatever else the server has."""
    fake, url = server
    fake.models = [model("vllm/embed", "embedding")]
    async with opened(url) as stack:
        error = await failure(stack)

    assert type(error) is ModelNotFound


async def test_results_of_tool_calls_resume_the_conversation(
    server: tuple[FakeResponses, str],
) -> None:
    """The response that waits tells what it waits for."""
    fake, url = server
    fake.scripts = [
        Script([created(), final("completed", call("weather", "{}"))]),
        Script(answer("Cold")),
    ]
    async with opened(url) as stack:
        asked = await run(stack)
        resume = Resume(RESPONSE, (Answer("call_1", "-3C"),))
        events = await run(stack, request(parts=(), resume=resume))

    assert isinstance(asked[-1], InputRequired)
    assert events[-1] == TurnCompleted("end_of_turn", "Cold")
    assert fake.asked["conversation"] == CONVERSATION
    assert fake.asked["input"] == [
        {"type": "function_call_output", "call_id": "call_1", "output": "-3C"}
    ]


async def test_an_approval_resumes_the_conversation(server: tuple[FakeResponses, str]) -> None:
    """A denied call may leave nothing to say."""
    fake, url = server
    asked = approval("add", "{}")
    fake.scripts = [
        Script([created(), final("completed", asked)]),
        Script([created(), final("completed")]),
    ]
    async with opened(url) as stack:
        await run(stack)
        resume = Resume(RESPONSE, (Answer("approval_1", "no", approve=False),))
        events = await run(stack, request(parts=(), resume=resume))

    assert events[-1] == TurnCompleted("end_of_turn", "")
    assert fake.asked["conversation"] == CONVERSATION
    assert [each["type"] for each in fake.asked["input"]] == [
        "mcp_approval_request",
        "mcp_approval_response",
    ]


@pytest.mark.parametrize(("turn_id", "error"), [("resp_9", TurnFailed), ("../x", TurnFailed)])
async def test_a_turn_that_the_server_does_not_know_cannot_be_resumed(
    server: tuple[FakeResponses, str], turn_id: str, error: type[StackError]
) -> None:
    """There is nothing that waits."""
    _, url = server
    async with opened(url) as stack:
        found = await failure(stack, request(resume=Resume(turn_id, (Answer("call_1", "x"),))))

    assert type(found) is error


async def test_the_form_of_an_answer_is_passed_on(server: tuple[FakeResponses, str]) -> None:
    """What comes of it is text here; whoever asked reads it."""
    fake, url = server
    fake.scripts = [Script(answer('{"sum": 42}'))]
    wanted = {"type": "json_schema", "json_schema": {"type": "object"}}
    async with opened(url) as stack:
        events = await run(stack, request(metadata={"response_format": wanted}))

    assert fake.asked["text"]["format"]["schema"] == {"type": "object"}
    assert events[-1] == TurnCompleted("end_of_turn", '{"sum": 42}')


async def test_tools_that_are_not_named_are_approved_without_asking(
    server: tuple[FakeResponses, str],
) -> None:
    """The server asks for all of a tool server of which some want approval."""
    fake, url = server
    second = RESPONSE[:-1] + "2"
    asks = response("completed", message("Let me add. "), approval("add", "{}"))
    fake.scripts = [
        Script(
            [created(), delta("Let me add. "), {"type": "response.completed", "response": asks}]
        ),
        Script([*answer("42")[:-1], final("completed", message("42"), id=second)]),
    ]
    async with opened(url, mcp_servers=[SUMS | {"require_approval": ["delete"]}]) as stack:
        events = await run(stack)

    first, again = [each.body for each in fake.seen if each.path == "/v1/responses"]
    assert first["tools"][0]["require_approval"] == {"always": ["delete"]}
    assert [item["type"] for item in again["input"]] == [
        "mcp_approval_request",
        "mcp_approval_response",
    ]
    assert again["input"][1]["approve"] is True
    assert again | {"input": ""} == first | {"input": ""}
    assert not [event for event in events if isinstance(event, InputRequired)]
    assert events[-1] == TurnCompleted("end_of_turn", "Let me add. 42")


async def test_a_server_that_asks_for_ever_is_not_followed_for_ever(
    server: tuple[FakeResponses, str],
) -> None:
    """The limit is that of the agent's steps."""
    fake, url = server
    fake.scripts = [Script([created(), final("completed", approval("add", "{}"))])] * 3
    sections: dict[str, Any] = {
        "mcp_servers": [SUMS | {"require_approval": ["delete"]}],
        "agent": {"max_infer_iters": 3},
    }
    async with opened(url, **sections) as stack:
        events = await run(stack)

    assert isinstance(events[-1], Failed)


async def test_the_answer_to_one_approval_brings_those_that_nobody_has_to_give(
    server: tuple[FakeResponses, str],
) -> None:
    """They wait in the same response."""
    fake, url = server
    both = (approval("add", "{}"), approval("delete", "{}", "approval_2"))
    fake.scripts = [Script([created(), final("completed", *both)]), Script(answer("Done"))]
    sections: dict[str, Any] = {"mcp_servers": [SUMS | {"require_approval": ["delete"]}]}
    async with opened(url, **sections) as stack:
        await run(stack)
    async with opened(url, **sections) as stack:  # as after a restart
        resume = Resume(RESPONSE, (Answer("approval_2", "", approve=False),))
        events = await run(stack, request(resume=resume))

    given = {
        item["approval_request_id"]: item["approve"]
        for item in fake.asked["input"]
        if item["type"] == "mcp_approval_response"
    }
    assert given == {"approval_1": True, "approval_2": False}
    assert events[-1] == TurnCompleted("end_of_turn", "Done")


LISTING = [created(), {"type": "response.mcp_list_tools.in_progress"}]
BROKEN = {"error": {"message": "Internal server error: An unexpected error occurred."}}


async def test_a_tool_server_that_wants_credentials_interrupts_the_turn(
    server: tuple[FakeResponses, str], run_server: RunServer
) -> None:
    """Llama Stack does not say so; the tool server does, and a follow-up tries again."""
    fake, url = server
    fake.scripts = [Script([*LISTING, BROKEN]), Script(answer("42"))]
    guarded = McpServer("Bearer good")
    async with run_server(guarded) as tools:
        free = {"name": "free", "url": f"{tools}/mcp?key=secret"}
        async with opened(url, mcp_servers=[free]) as stack:
            events = await run(stack)
            retry = request(parts=(TextPart("Sum?"), TextPart("Now")), resume=Resume(RESPONSE, ()))
            again = await run(stack, retry)

    assert isinstance(events[-1], AuthRequired)
    assert events[-1].data == {"type": "auth", "server": "free", "url": tools}
    assert "secret" not in events[-1].text
    assert again[-1] == TurnCompleted("end_of_turn", "42")
    assert fake.asked["input"] == "Sum?\n\nNow"


async def test_a_tool_server_that_fails_for_another_reason_fails_the_turn(
    server: tuple[FakeResponses, str], run_server: RunServer
) -> None:
    """One that lets everybody in, one that is not there."""
    fake, url = server
    fake.scripts = [Script([*LISTING, BROKEN])]
    async with run_server(McpServer()) as tools:
        servers = [{"name": "free", "url": f"{tools}/mcp"}, {"name": "gone", "url": NOBODY}]
        async with opened(url, mcp_servers=servers) as stack:
            error = await failure(stack)

    assert type(error) is TurnFailed


async def test_a_failure_that_has_nothing_to_do_with_tools_asks_no_tool_server(
    server: tuple[FakeResponses, str], run_server: RunServer
) -> None:
    fake, url = server
    fake.scripts = [Script([created(), BROKEN])]
    guarded = McpServer("Bearer good")
    async with run_server(guarded) as tools:
        servers = [{"name": "tools", "url": f"{tools}/mcp"}]
        async with opened(url, mcp_servers=servers) as stack:
            await failure(stack)

    assert guarded.seen == []


async def test_a_refusal_rejects(server: tuple[FakeResponses, str]) -> None:
    """The shields of the agent decide on the server."""
    fake, url = server
    fake.scripts = [Script([created(), final("completed", refusal("No."))])]
    async with opened(url, agent={"input_shields": ["guard"]}) as stack:
        events = await run(stack)

    assert fake.asked["guardrails"] == ["guard"]
    assert events[-1] == Rejected("No.")


async def test_a_message_that_a_shield_refuses_is_no_part_of_the_conversation(
    server: tuple[FakeResponses, str],
) -> None:
    """Servers could not go on with it; what passes is looked at by the guardrails all the same."""
    fake, url = server
    fake.objects_to = "bomb"
    fake.scripts = [Script(answer("Hi"))]
    wanted = Inference(text="a bomb", instructions="", owner="o")
    async with opened(url, agent={"input_shields": ["guard", "other"]}) as stack:
        events = await run(stack, request("How to make a bomb"))
        with pytest.raises(TurnFailed, match="I can't"):
            await stack.infer(wanted)
        assert not [each for each in fake.seen if each.path == "/v1/responses"]
        passed = await run(stack, request("Hello"))

    violation = {"violation": {"level": "error", "type": "S9"}}
    assert events == [
        StepStarted("shield_call", "guard"),
        StepEnded("shield_call", "guard", violation),
        Rejected("I can't."),
    ]
    assert [each.name for each in passed if isinstance(each, StepEnded)] == ["guard", "other"]
    assert passed[-1] == TurnCompleted("end_of_turn", "Hi")
    assert fake.asked["guardrails"] == ["guard", "other"]


async def test_a_shield_that_cannot_be_run_fails_the_turn(
    server: tuple[FakeResponses, str],
) -> None:
    """Nothing is asked of the model."""
    fake, url = server
    fake.not_served["/v1/safety/run-shield"] = 500
    async with opened(url, agent={"input_shields": ["guard"]}) as stack:
        assert type(await failure(stack)) is TurnFailed
    assert not [each for each in fake.seen if each.path == "/v1/responses"]


async def test_a_server_without_guardrails_runs_no_turn_that_needs_them(
    server: tuple[FakeResponses, str],
) -> None:
    """OGX takes a boolean there."""
    fake, url = server
    said = "{'errors': [{'loc': ['body', 'guardrails'], 'msg': 'Input should be a valid boolean'}]}"
    fake.scripts = [Script(status=400, error={"error": {"message": said}})]
    async with opened(url, agent={"output_shields": ["guard"]}) as stack:
        error = await failure(stack)

    assert error.message == "Llama Stack cannot apply the shields of this agent."


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, TurnFailed),
        (401, StackUnavailable),
        (404, TurnFailed),
        (500, TurnFailed),
        (503, StackUnavailable),
        (504, StackTimeout),
    ],
)
async def test_an_error_in_place_of_a_stream_is_understood(
    server: tuple[FakeResponses, str], status: int, error: type[StackError]
) -> None:
    """And nothing is tried twice."""
    fake, url = server
    fake.scripts = [Script(status=status, error={"detail": "secret"})]
    async with opened(url, agent={"input_shields": ["guard"]}) as stack:
        found = await failure(stack)

    assert type(found) is error
    assert "secret" not in found.message


@pytest.mark.parametrize("conversation_id", ["agent/session", "0" * 48, ""])
async def test_a_conversation_of_another_stack_is_lost(conversation_id: str) -> None:
    """The server is not asked about it."""
    async with opened(NOBODY) as stack:
        error = await failure(stack, request(conversation_id=conversation_id))

    assert type(error) is ConversationLost


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (Script(answer("Good ", "day")[:-1]), TurnFailed("The stack broke off the answer.")),
        (
            Script(answer("Good ", "day")[:-1], then="break"),
            TurnFailed("The connection to Llama Stack broke."),
        ),
        (Script(raw=b"data: {no json\n\n"), InvalidAgentResponse()),
        (Script(raw=b'data: "\xff"\n\n'), InvalidAgentResponse()),
    ],
)
async def test_a_broken_stream_is_a_failed_turn(
    server: tuple[FakeResponses, str], script: Script, error: StackError
) -> None:
    """However it breaks."""
    fake, url = server
    fake.scripts = [script]
    async with opened(url) as stack:
        found = await failure(stack)

    assert (type(found), found.message) == (type(error), error.message)


async def test_a_stream_that_breaks_after_its_last_event_was_complete(
    server: tuple[FakeResponses, str],
) -> None:
    """Nothing is missing."""
    fake, url = server
    fake.scripts = [Script(answer("Hi"), then="break")]
    async with opened(url) as stack:
        events = await run(stack)

    assert events[-1] == TurnCompleted("end_of_turn", "Hi")


async def test_nothing_after_the_last_event_is_read(server: tuple[FakeResponses, str]) -> None:
    """The turn is over."""
    fake, url = server
    fake.scripts = [Script([*answer("Hi"), delta("more"), {"error": {"message": "500: late"}}])]
    async with opened(url) as stack:
        events = await run(stack)

    assert events == [
        TurnStarted(RESPONSE, "vllm/small"),
        TextDelta("Hi"),
        Usage(7, 3),
        TurnCompleted("end_of_turn", "Hi"),
    ]


async def test_a_turn_is_over_when_the_server_has_hung_up(
    server: tuple[FakeResponses, str],
) -> None:
    """It may file the answer in the conversation after its last event."""
    fake, url = server
    fake.scripts = [Script(answer("Hi"), then="linger")]
    events: list[TurnEvent] = []
    async with opened(url) as stack:
        turn = asyncio.create_task(collect(stack, events))
        await fake.sent.wait()
        await stack.health()  # takes longer than the turn needs to read what was sent
        before = list(events)
        fake.release.set()
        await turn

    assert not any(isinstance(each, TurnCompleted) for each in before)
    assert isinstance(events[-1], TurnCompleted)
    assert not fake.gone.is_set()


async def collect(stack: Stack, events: list[TurnEvent]) -> None:
    """Keep the events of a turn as they come."""
    async for event in stack.turn(request()):
        events.append(event)  # noqa: PERF401  # they are looked at before the end


async def test_a_server_that_does_not_hang_up_is_not_waited_for_long(
    server: tuple[FakeResponses, str],
) -> None:
    """Some proxies keep streams open."""
    fake, url = server
    fake.scripts = [Script(answer("Hi"), then="linger")]
    async with opened(url, Hasty) as stack:
        events = await run(stack)
        await fake.gone.wait()

    assert events[-1] == TurnCompleted("end_of_turn", "Hi")


async def test_closing_the_iterator_closes_the_stream(server: tuple[FakeResponses, str]) -> None:
    """Which is how a server learns that nobody listens."""
    fake, url = server
    fake.scripts = [Script(answer("Good ", "day")[:-2], then="linger")]
    async with opened(url) as stack:
        turn: Any = stack.turn(request())
        async with aclosing(turn):
            assert await anext(turn) == TurnStarted(RESPONSE, "vllm/small")
            assert await anext(turn) == TextDelta("Good ")
        await fake.gone.wait()


@pytest.mark.parametrize(
    ("held", "outcome"),
    [
        (response("completed", message("Hi")), TurnCompleted("end_of_turn", "Hi")),
        (response("completed"), TurnCompleted("end_of_turn", "")),
        (response("completed", call("weather", "{}")), None),
        (response("completed", refusal("No.")), None),
        (response("in_progress"), None),
        (response("failed"), None),
        (None, None),
    ],
)
async def test_the_outcome_of_a_turn_is_that_of_its_response(
    server: tuple[FakeResponses, str], held: Any, outcome: TurnCompleted | None
) -> None:
    """None when it has no answer, or waits for one."""
    fake, url = server
    if held:
        fake.responses[RESPONSE] = held
    async with opened(url) as stack:
        assert await stack.outcome(CONVERSATION, RESPONSE) == outcome


@pytest.mark.parametrize("status", [200, 404, 405, 409])
async def test_cancel_asks_a_server_that_can(
    server: tuple[FakeResponses, str], status: int
) -> None:
    """Others answer that they know no such thing, or that it is too late."""
    fake, url = server
    path = f"/v1/responses/{RESPONSE}/cancel"
    if status != 200:
        fake.not_served[path] = status
    async with opened(url) as stack:
        await stack.cancel(CONVERSATION, RESPONSE)

    assert [each.path for each in fake.seen] == [path]


async def test_cancel_tells_when_it_could_not_ask(server: tuple[FakeResponses, str]) -> None:
    """The turn may run on."""
    fake, url = server
    fake.not_served[f"/v1/responses/{RESPONSE}/cancel"] = 503
    for at in (NOBODY, url):
        async with opened(at) as stack:
            with pytest.raises(StackUnavailable):
                await stack.cancel(CONVERSATION, RESPONSE)


async def test_the_outcome_cannot_be_told_while_the_server_is_down() -> None:
    """That is another thing than a response that is not known."""
    async with opened(NOBODY) as stack:
        for _ in range(2):
            with pytest.raises(StackUnavailable):
                await stack.outcome(CONVERSATION, RESPONSE)
            with pytest.raises(StackUnavailable):
                await stack.cancel(CONVERSATION, RESPONSE)


async def test_the_catalogue_is_the_servers(server: tuple[FakeResponses, str]) -> None:
    """Models are described by what servers from 0.4 on say in their metadata."""
    fake, url = server
    old = {
        "identifier": "old/m",
        "provider_id": "old",
        "model_type": "rerank",
        "metadata": {"a": 1},
    }
    fake.models = [model("vllm/small"), old, {"id": "plain", "owned_by": "somebody"}]
    async with opened(url) as stack:
        models = await stack.models()
        listed = [await stack.shields(), await stack.tools(), await stack.vector_stores()]
        providers = await stack.providers()
        told = await stack.version(), await stack.health()

    small = {"model_type": "llm", "provider_id": "vllm", "provider_resource_id": "vllm/small"}
    assert models == [
        Model("vllm/small", "vllm", "llm", small, "vllm/small"),
        Model("old/m", "old", "rerank", {"a": 1}),
        Model("plain", "somebody", "llm", {}),
    ]
    assert [len(each) for each in (*listed, providers)] == [1, 1, 1, 1]
    assert told == ("0.7.3", Health(ok=True))


async def test_what_a_server_does_not_have_is_an_empty_list(
    server: tuple[FakeResponses, str],
) -> None:
    """OGX has neither shields nor tools."""
    fake, url = server
    fake.not_served = {f"/v1/{each}": 404 for each in ("shields", "tools", "vector_stores")}
    async with opened(url) as stack:
        assert [
            list(await listing()) for listing in (stack.shields, stack.tools, stack.vector_stores)
        ] == [[], [], []]


async def test_other_errors_of_the_catalogue_are_told(server: tuple[FakeResponses, str]) -> None:
    """An empty list would be a lie."""
    fake, url = server
    fake.not_served = {"/v1/shields": 503}
    async with opened(url) as stack:
        with pytest.raises(StackUnavailable):
            await stack.shields()


async def test_a_server_that_is_down_shows_with_the_first_request() -> None:
    """Opening does not need it."""
    async with opened(NOBODY) as stack:
        health = await stack.health()
        error = await failure(stack)
        with pytest.raises(StackUnavailable):
            await stack.start_conversation("o")

    assert not health.ok
    assert type(error) is StackUnavailable


async def test_opening_tells_what_cannot_work(caplog: pytest.LogCaptureFixture) -> None:
    """A tool group without a tool is a warning."""
    with caplog.at_level(logging.WARNING):
        async with opened(NOBODY, agent={"toolgroups": ["own::tools"]}):
            pass

    assert "own::tools" in caplog.text
