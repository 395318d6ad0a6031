"""Both stacks against a real Llama Stack at ``LLAMA_STACK_URL``; which one, the server decides.

The model is ``LLAMA_STACK_MODEL``. What a model says cannot be foreseen, so some tests need one
whose id contains ``mock`` and that follows directives in the user's text: ``STREAM n``, ``LENGTH``,
``HTTP code``, ``CALL tool {json}``. An MCP server with ``add_numbers`` may be at
``LLAMA_STACK_MCP_URL``. Where there is a shield, it must object to bombs, and its model is another one
that answers; where there is a model for embeddings, a vector store is made with it.
"""

from __future__ import annotations

import os
import secrets
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import msgspec
import pytest

from agent.errors import InvalidParams, ModelNotFound, StackError, TurnFailed
from agent.settings import Settings
from agent.stacks import (
    Answer,
    AuthRequired,
    Citation,
    Credentials,
    FilePart,
    Inference,
    InputRequired,
    Part,
    Rejected,
    Resume,
    StepEnded,
    StepStarted,
    TextDelta,
    TextPart,
    TurnCompleted,
    TurnEvent,
    TurnOptions,
    TurnRequest,
    TurnStarted,
)
from agent.stacks.agents_api import AgentsApiStack
from agent.stacks.client import served_paths, stack_for
from agent.stacks.responses_api import ResponsesApiStack
from tests.fakes.mcp_server import McpServer
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.anyio, pytest.mark.live]

URL = os.environ.get("LLAMA_STACK_URL")
MODEL = os.environ.get("LLAMA_STACK_MODEL")
MCP_URL = os.environ.get("LLAMA_STACK_MCP_URL")
WEATHER = {
    "name": "get_weather",
    "description": "Weather for a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}

needs_mock = pytest.mark.skipif("mock" not in (MODEL or ""), reason="no model with directives")

type LiveStack = AgentsApiStack | ResponsesApiStack

if not URL:
    pytest.skip("LLAMA_STACK_URL is not set", allow_module_level=True)


@pytest.fixture(scope="module")
def settings() -> Settings:
    """Return settings for the server, with a client tool and the MCP server if there is one."""
    servers = [{"name": "mock", "url": MCP_URL}] if MCP_URL else []
    return Settings.model_validate(
        {
            "llama_stack": {"url": URL, "timeout": 60},
            "agent": {
                "name": "live-test",
                "client_tools": [WEATHER],
                "max_infer_iters": 3,
                "toolgroups": [],
                "input_shields": [],
            },
            "inference": {"default_model": MODEL},
            "mcp_servers": servers,
        }
    )


@pytest.fixture(scope="module")
async def stack(settings: Settings) -> AsyncIterator[LiveStack]:
    """Return the stack that the server needs."""
    async with opened(settings) as stack:
        yield stack


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[LiveStack]:
    """Open a stack of its own, as another process would."""
    old = stack_for(await served_paths(settings)) == "agents_api"
    stack: LiveStack = AgentsApiStack(settings) if old else ResponsesApiStack(settings)
    await stack.open()
    try:
        yield stack
    finally:
        await stack.close()


def with_tools(settings: Settings, url: str, **fields: Any) -> Settings:
    """Return settings with one MCP server of a name of its own."""
    server = {"name": f"live-{secrets.token_hex(4)}", "url": url, **fields}
    sections = settings.model_dump(include={"llama_stack", "agent", "inference"})
    return Settings.model_validate({**sections, "mcp_servers": [server]})


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
    stack: LiveStack, conversation_id: str, *parts: Part, **more: Any
) -> list[TurnEvent]:
    """Run a turn and return all its events."""
    with anyio.fail_after(60):
        return [event async for event in stack.turn(request(conversation_id, *parts, **more))]


def streamed(events: list[TurnEvent]) -> str:
    """Return the text that was streamed."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def turn_id(events: list[TurnEvent]) -> str:
    """Return the id of the turn, which was told once."""
    (told,) = [event.turn_id for event in events if isinstance(event, TurnStarted)]
    return told


async def test_the_server_is_well_and_has_models(stack: LiveStack) -> None:
    """The catalogue can be read."""
    assert (await stack.health()).ok
    assert await stack.version() != "none"
    assert [model for model in await stack.models() if model.model_type == "llm"]
    assert await stack.providers()
    for listing in (stack.shields(), stack.tools(), stack.vector_stores()):
        assert isinstance(await listing, list)


async def test_two_turns_of_a_conversation_are_answered(stack: LiveStack) -> None:
    """The stack remembers how they ended."""
    conversation_id = await stack.start_conversation("alice")
    for text in ("Say hello", "Say it again"):
        events = await turn(stack, conversation_id, TextPart(text))
        assert isinstance(events[-1], TurnCompleted)
        assert (events[-1].text or streamed(events)) == streamed(events) != ""
        outcome = await stack.outcome(conversation_id, turn_id(events))
        assert outcome is not None
        assert outcome.text == streamed(events)


@needs_mock
async def test_an_answer_comes_in_pieces(stack: LiveStack) -> None:
    """As the model gives them."""
    conversation_id = await stack.start_conversation("alice")
    events = await turn(stack, conversation_id, TextPart("STREAM 50"))
    assert streamed(events) == " ".join(f"w{number}" for number in range(50))
    assert len([event for event in events if isinstance(event, TextDelta)]) > 10


@needs_mock
async def test_an_answer_that_is_cut_off_says_so(stack: LiveStack) -> None:
    """It is complete with that reason."""
    conversation_id = await stack.start_conversation("alice")
    events = await turn(stack, conversation_id, TextPart("LENGTH"))
    assert events[-1] == TurnCompleted("out_of_tokens", "cut off he")


@needs_mock
@pytest.mark.parametrize("directive", ["HTTP 500", "HTTP 400", "MIDERROR", "DROP"])
async def test_a_model_that_fails_fails_the_turn(stack: LiveStack, directive: str) -> None:
    """Its words stay out of the message; the conversation goes on."""
    conversation_id = await stack.start_conversation("alice")
    with pytest.raises(StackError) as raised:
        await turn(stack, conversation_id, TextPart(directive))
    assert "mock" not in raised.value.message
    events = await turn(stack, conversation_id, TextPart("STREAM 3"))
    assert streamed(events) == "w0 w1 w2"


@needs_mock
async def test_a_text_file_is_read_with_the_message(stack: LiveStack) -> None:
    """The model sees its text."""
    conversation_id = await stack.start_conversation("alice")
    file = FilePart("a.txt", "text/plain", data=b"the-word")
    events = await turn(stack, conversation_id, TextPart("Read this"), file)
    assert "the-word" in streamed(events)


@needs_mock
@pytest.mark.skipif(not MCP_URL, reason="LLAMA_STACK_MCP_URL is not set")
async def test_a_tool_of_the_server_is_run_and_shown(stack: LiveStack) -> None:
    """With its arguments and what it gave."""
    conversation_id = await stack.start_conversation("alice")
    text = TextPart('CALL add_numbers {"a": 2, "b": 40}')
    events = await turn(stack, conversation_id, text)
    steps = [each for each in events if isinstance(each, StepStarted | StepEnded)]
    began, ended = [each for each in steps if each.name == "add_numbers"]
    assert isinstance(began, StepStarted)
    assert isinstance(ended, StepEnded)
    assert "40" in str(began.detail)
    assert "42" in str(ended.detail)
    assert isinstance(events[-1], TurnCompleted)
    assert "42" in streamed(events)


@needs_mock
async def test_a_client_tool_is_asked_for_and_answered(stack: LiveStack) -> None:
    """The turn goes on with the result."""
    conversation_id = await stack.start_conversation("alice")
    events = await turn(stack, conversation_id, TextPart('CALL get_weather {"city": "Oslo"}'))
    asked = events[-1]
    assert isinstance(asked, InputRequired)
    (call,) = asked.data["tool_calls"]
    assert call["tool_name"] == "get_weather"
    assert call["arguments"] == {"city": "Oslo"}
    resume = Resume(turn_id(events), (Answer(call["call_id"], "12C and rain"),))
    events = await turn(stack, conversation_id, resume=resume)
    assert isinstance(events[-1], TurnCompleted)
    assert "12C and rain" in streamed(events)


@needs_mock
async def test_a_turn_that_is_given_up_leaves_the_conversation_usable(stack: LiveStack) -> None:
    """Closing the iterator is enough."""
    conversation_id = await stack.start_conversation("alice")
    slow: Any = stack.turn(request(conversation_id, TextPart("SLOW 200 100")))
    with anyio.fail_after(60):
        async with aclosing(slow) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
    events_after = await turn(stack, conversation_id, TextPart("STREAM 3"))
    assert streamed(events_after) == "w0 w1 w2"


async def test_an_unknown_conversation_is_an_error(stack: LiveStack) -> None:
    """Whatever its id looks like."""
    for conversation_id in ("unknown", "a/b", f"conv_{'0' * 48}"):
        with pytest.raises(StackError):
            await turn(stack, conversation_id, TextPart("Hello"))


@needs_mock
async def test_another_process_knows_how_a_turn_ended(stack: LiveStack, settings: Settings) -> None:
    """Its whole text; and nothing of a turn that was never there."""
    conversation_id = await stack.start_conversation("alice")
    events = await turn(stack, conversation_id, TextPart("STREAM 200"))
    async with opened(settings) as other:
        outcome = await other.outcome(conversation_id, turn_id(events))
        assert await other.outcome(conversation_id, "no-such-turn") is None
    assert outcome is not None
    assert outcome.text == streamed(events) != ""


@needs_mock
async def test_another_process_goes_on_with_a_turn_that_waits(
    stack: LiveStack, settings: Settings
) -> None:
    """What it waits for is the server's to know."""
    conversation_id = await stack.start_conversation("alice")
    events = await turn(stack, conversation_id, TextPart('CALL get_weather {"city": "Oslo"}'))
    asked = events[-1]
    assert isinstance(asked, InputRequired)
    resume = Resume(turn_id(events), (Answer(asked.data["tool_calls"][0]["call_id"], "12C"),))
    async with opened(settings) as other:
        assert await other.outcome(conversation_id, resume.turn_id) is None
        events = await turn(other, conversation_id, resume=resume)
    assert "12C" in streamed(events)


async def test_cancelling_what_has_ended_or_never_was_is_no_error(stack: LiveStack) -> None:
    """Also twice."""
    conversation_id = await stack.start_conversation("alice")
    events = await turn(stack, conversation_id, TextPart("Say hello"))
    for _ in range(2):
        await stack.cancel(conversation_id, turn_id(events))
    await stack.cancel(conversation_id, f"resp_{'0' * 8}-0000-4000-8000-{'0' * 12}")
    outcome = await stack.outcome(conversation_id, turn_id(events))
    assert outcome is not None
    assert outcome.text == streamed(events)


@needs_mock
@pytest.mark.skipif(not MCP_URL, reason="LLAMA_STACK_MCP_URL is not set")
@pytest.mark.parametrize(("approve", "said"), [(True, "42"), (False, "")])
async def test_a_call_waits_for_approval(settings: Settings, said: str, *, approve: bool) -> None:
    """Where the server can ask; a process after this one gives the answer."""
    if stack_for(await served_paths(settings)) == "agents_api":
        pytest.skip("the agents API cannot ask")
    asking = with_tools(settings, MCP_URL or "", require_approval="always")
    async with opened(asking) as stack:
        conversation_id = await stack.start_conversation("alice")
        text = TextPart('CALL add_numbers {"a": 2, "b": 40}')
        events = await turn(stack, conversation_id, text)
    asked = events[-1]
    assert isinstance(asked, InputRequired)
    (call,) = asked.data["approvals"]
    assert (call["tool_name"], call["arguments"]) == ("add_numbers", {"a": 2, "b": 40})
    resume = Resume(turn_id(events), (Answer(call["call_id"], "", approve=approve),))
    async with opened(asking) as stack:
        events = await turn(stack, conversation_id, resume=resume)
    assert isinstance(events[-1], TurnCompleted)
    assert said in streamed(events)
    assert approve or "42" not in streamed(events)


@needs_mock
@pytest.mark.skipif(not MCP_URL, reason="LLAMA_STACK_MCP_URL is not set")
async def test_a_tool_that_is_not_named_needs_no_approval(settings: Settings) -> None:
    """The server asks for it all the same, and the caller does not hear of it."""
    if stack_for(await served_paths(settings)) == "agents_api":
        pytest.skip("the agents API cannot ask")
    asking = with_tools(settings, MCP_URL or "", require_approval=["fail_tool"])
    async with opened(asking) as stack:
        conversation_id = await stack.start_conversation("alice")
        text = TextPart('CALL add_numbers {"a": 2, "b": 40}')
        events = await turn(stack, conversation_id, text)
    assert isinstance(events[-1], TurnCompleted)
    assert "42" in streamed(events)


@needs_mock
@pytest.mark.parametrize("status", [401, 403])
async def test_a_tool_server_that_wants_credentials_interrupts_the_turn(
    settings: Settings, tmp_path: Any, status: int
) -> None:
    """And is asked again with the next message, once it was given some."""
    secret = tmp_path / "secret"
    secret.write_text("Bearer stale")
    headers = {"Authorization": str(secret)}
    tools = McpServer("Bearer good", status=status)
    async with run_server(tools) as url:
        guarded = with_tools(settings, f"{url}/mcp", authorization_headers=headers)
        async with opened(guarded) as stack:
            conversation_id = await stack.start_conversation("alice")
            text = TextPart('CALL add {"a": 2, "b": 40}')
            events = await turn(stack, conversation_id, text)
            told = [event.turn_id for event in events if isinstance(event, TurnStarted)]
            secret.write_text("Bearer good")
            resume = Resume(told[0] if told else "", ())
            again = await turn(stack, conversation_id, text, resume=resume)
    asked = events[-1]
    assert isinstance(asked, AuthRequired)
    assert asked.data["server"] == guarded.mcp_servers[0].name
    assert isinstance(again[-1], TurnCompleted)
    assert tools.calls == [{"a": 2, "b": 40}]


@needs_mock
async def test_a_tool_server_is_shown_what_each_caller_gave(settings: Settings) -> None:
    """A wrong token does not profit from a right one; without any there is no such tool."""
    tools = McpServer("Bearer good")
    text = TextPart('CALL add {"a": 2, "b": 40}')
    events = []
    async with run_server(tools) as url:
        guarded = with_tools(
            settings, f"{url}/mcp", authorization_headers={"Authorization": "client"}
        )
        (server,) = guarded.mcp_servers
        async with opened(guarded) as stack:
            for token in ("good", "wrong", None, "good"):
                shown = {server.name: {"Authorization": f"Bearer {token}"}} if token else {}
                given = Credentials(mcp_headers=shown)
                conversation_id = await stack.start_conversation("alice")
                try:
                    events.append(await turn(stack, conversation_id, text, credentials=given))
                except TurnFailed:
                    events.append([])
    good, wrong, nothing, again = events
    assert isinstance(good[-1], TurnCompleted)
    assert isinstance(wrong[-1], AuthRequired)
    assert not nothing or isinstance(nothing[-1], TurnCompleted)
    assert isinstance(again[-1], TurnCompleted)
    assert tools.calls == [{"a": 2, "b": 40}] * 2
    assert set(tools.seen) == {"Bearer good", "Bearer wrong"}


@needs_mock
async def test_a_schema_is_taken_by_servers_that_can(settings: Settings) -> None:
    """What the model makes of it is not the server's affair."""
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema}}
    async with opened(settings) as stack:
        asked = request(await stack.start_conversation("alice"), TextPart("STREAM 3"))
        asked = msgspec.structs.replace(asked, metadata={"response_format": form})
        with anyio.fail_after(60):
            events = [event async for event in stack.turn(asked)]
    assert isinstance(events[-1], TurnCompleted)


# --- what one message wants otherwise


def answered(events: list[TurnEvent]) -> str | None:
    """Return the model that answered."""
    (told,) = [event.model for event in events if isinstance(event, TurnStarted)]
    return told


def raw() -> httpx.AsyncClient:
    """Return a client that sees what the server has kept."""
    return httpx.AsyncClient(base_url=URL or "", timeout=60)


async def test_the_model_is_told_with_its_provider(stack: LiveStack) -> None:
    """And may be named with each message, also without its provider."""
    known = {model.identifier: model for model in await stack.models()}
    conversation_id = await stack.start_conversation("alice")
    name = answered(await turn(stack, conversation_id, TextPart("Say hello"))) or ""
    provider, _, bare = name.partition("/")
    assert provider in {model.provider_id for model in known.values()}
    for wanted in (name, bare):
        events = await turn(stack, conversation_id, TextPart("Say hello"), model=wanted)
        assert answered(events) == name
    for unknown in ("nobody/nothing", "nothing", ""):
        with pytest.raises(ModelNotFound):
            await turn(stack, conversation_id, TextPart("Say hello"), model=unknown)


@needs_mock
async def test_another_model_answers_one_message(stack: LiveStack) -> None:
    """The next is for the usual one again, and has the conversation before it."""
    models = [model.identifier for model in await stack.models() if model.model_type == "llm"]
    other = next(name for name in models if not name.endswith(MODEL or ""))
    conversation_id = await stack.start_conversation("alice")
    usual = answered(await turn(stack, conversation_id, TextPart("STREAM 3")))
    events = await turn(stack, conversation_id, TextPart("STREAM 4"), model=other)
    assert answered(events) == other != usual
    events = await turn(stack, conversation_id, TextPart("STREAM 5"))
    assert answered(events) == usual
    assert streamed(events) == "w0 w1 w2 w3 w4"
    outcome = await stack.outcome(conversation_id, turn_id(events))
    assert outcome is not None
    assert outcome.text == streamed(events)


async def test_instructions_hold_for_one_message(stack: LiveStack) -> None:
    """What was said before them stays known."""
    conversation_id = await stack.start_conversation("alice")
    await turn(stack, conversation_id, TextPart("My name is Ada"))
    brief = TurnOptions(instructions="Answer in one word.")
    events = await turn(stack, conversation_id, TextPart("What is it?"), options=brief)
    again = await turn(stack, conversation_id, TextPart("Thanks"))
    async with raw() as http:
        told = [
            (await http.get(f"/v1/responses/{turn_id(each)}")).json() for each in (events, again)
        ]
        kept = await http.get(
            f"/v1/conversations/{conversation_id.split('/')[-1]}/items", params={"order": "asc"}
        )
    assert [each["instructions"] for each in told] == [
        "Answer in one word.",
        stack.settings.instructions,
    ]
    said = [str(item["content"]) for item in kept.json()["data"] if "content" in item]
    # in any order: 0.3.5 has items of several turns in one second mixed up, but not for the model
    for text in ("My name is Ada", "What is it?", "Thanks"):
        assert any(text in each for each in said)
    assert len(said) == 6


@needs_mock
@pytest.mark.skipif(not MCP_URL, reason="LLAMA_STACK_MCP_URL is not set")
async def test_a_message_without_tools_calls_none(stack: LiveStack) -> None:
    """Neither the server's nor the caller's."""
    conversation_id = await stack.start_conversation("alice")
    none = TurnOptions(no_tools=True)
    for text in ('CALL add_numbers {"a": 2, "b": 40}', 'CALL get_weather {"city": "Oslo"}'):
        events = await turn(stack, conversation_id, TextPart(text), options=none)
        assert isinstance(events[-1], TurnCompleted)
        assert not [each for each in events if isinstance(each, StepStarted) and each.name]
        assert streamed(events) == f"Echo: {text}"
    events = await turn(stack, conversation_id, TextPart('CALL add_numbers {"a": 2, "b": 40}'))
    assert "42" in streamed(events)


@needs_mock
async def test_shields_check_the_message_that_names_them(stack: LiveStack) -> None:
    """One that the server does not have is an error, and never left out."""
    shields = [shield["identifier"] for shield in await stack.shields()]
    conversation_id = await stack.start_conversation("alice")
    unknown = TurnOptions(shields=(*shields, "no-such-shield"))
    with pytest.raises(InvalidParams, match="no-such-shield"):
        await turn(stack, conversation_id, TextPart("How to make a bomb"), options=unknown)
    if not shields:
        return
    wanted = TurnOptions(shields=tuple(shields))
    events = await turn(stack, conversation_id, TextPart("Say hello"), options=wanted)
    assert isinstance(events[-1], TurnCompleted)
    events = await turn(stack, conversation_id, TextPart("How to make a bomb"), options=wanted)
    assert isinstance(events[-1], Rejected)
    assert not streamed(events)
    events = await turn(stack, conversation_id, TextPart("STREAM 3"), options=wanted)
    assert streamed(events) == "w0 w1 w2"
    events = await turn(stack, conversation_id, TextPart("How to make a bomb"))
    assert isinstance(events[-1], TurnCompleted)


@asynccontextmanager
async def stored(stack: LiveStack, text: str) -> AsyncIterator[str]:
    """Return the id of a vector store with one file; skip where the server cannot embed."""
    embed = [model for model in await stack.models() if model.model_type == "embedding"]
    if not embed:
        pytest.skip("the server has no model for embeddings")
    async with raw() as http:
        file = {"file": ("potions.txt", text.encode(), "text/plain")}
        up = await http.post("/v1/files", files=file, data={"purpose": "assistants"})
        about = {"name": "live", "embedding_model": embed[0].identifier}
        about |= {"embedding_dimension": embed[0].metadata.get("embedding_dimension", 64)}
        store = (await http.post("/v1/vector_stores", json=about)).raise_for_status().json()["id"]
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
async def test_the_stores_of_a_message_are_searched_and_cited(stack: LiveStack) -> None:
    """With what was found in them; without them there is nothing to search."""
    old = isinstance(stack, AgentsApiStack)
    call = TextPart(f'CALL {"knowledge" if old else "file"}_search {{"query": "polyjuice"}}')
    async with stored(stack, "Polyjuice boils at 100 degrees.") as store:
        assert store in [each["id"] for each in await stack.vector_stores()]
        conversation_id = await stack.start_conversation("alice")
        wanted = TurnOptions(vector_store_ids=(store,))
        events = await turn(stack, conversation_id, call, options=wanted)
        without = await turn(stack, conversation_id, call)
    (cited,) = [event for event in events if isinstance(event, Citation)]
    assert "Polyjuice boils" in (cited.text or "")
    assert cited.document_id
    assert cited.score is not None
    (began,) = [
        each for each in events if isinstance(each, StepStarted) and each.name == "file_search"
    ]
    assert began.detail["arguments"] == {"queries": ["polyjuice"]}
    assert began.detail["type"] == "file_search_call"
    assert "Polyjuice boils" in streamed(events)
    assert not [event for event in without if isinstance(event, Citation)]


@needs_mock
async def test_what_the_settings_leave_open_is_all_that_the_server_offers(
    stack: LiveStack, settings: Settings
) -> None:
    """Every store is searched, and every shield checks what the user says."""
    sections = settings.model_dump(include={"llama_stack", "inference"})
    shields = [shield["identifier"] for shield in await stack.shields()]
    old = isinstance(stack, AgentsApiStack)
    call = TextPart(f'CALL {"knowledge" if old else "file"}_search {{"query": "polyjuice"}}')
    async with (
        stored(stack, "Polyjuice boils at 100 degrees.") as store,
        opened(Settings.model_validate({**sections, "agent": {"name": "live-open"}})) as bare,
    ):
        conversation_id = await bare.start_conversation("alice")
        events = await turn(bare, conversation_id, call)
        refused = await turn(bare, conversation_id, TextPart("How to make a bomb"))
        unchecked = TurnOptions(shields=())
        said = await turn(bare, conversation_id, TextPart("A bomb"), options=unchecked)
    cited = [event for event in events if isinstance(event, Citation)]
    assert store
    assert any("Polyjuice boils" in (each.text or "") for each in cited)
    assert isinstance(refused[-1], Rejected) == bool(shields)
    assert isinstance(said[-1], TurnCompleted)


async def test_an_inference_is_answered_and_leaves_nothing(stack: LiveStack) -> None:
    """With what it cost; a model that is not there is told."""
    wanted = Inference(text="STREAM 3", instructions="Be brief.", owner="alice")
    with anyio.fail_after(60):
        inferred = await stack.infer(wanted)
    assert inferred.text
    assert inferred.model
    assert "/" in inferred.model
    assert inferred.usage is not None
    assert inferred.usage.output_tokens
    async with raw() as http:
        kept = (await http.get("/v1/responses", params={"limit": 5})).json()["data"]
    assert "Be brief." not in [each.get("instructions") for each in kept]
    with pytest.raises(ModelNotFound):
        await stack.infer(msgspec.structs.replace(wanted, model="nobody/nothing"))


async def test_a_deleted_conversation_is_gone(stack: LiveStack) -> None:
    """Once is enough, and more is no error; the others stay."""
    kept, gone = [await stack.start_conversation("alice") for _ in range(2)]
    for conversation_id in (kept, gone):
        await turn(stack, conversation_id, TextPart("Say hello"))
    for _ in range(2):
        await stack.delete_conversation(gone)
    with pytest.raises(StackError):
        await turn(stack, gone, TextPart("Say hello"))
    assert isinstance((await turn(stack, kept, TextPart("Say hello")))[-1], TurnCompleted)


@pytest.mark.skipif(not MCP_URL, reason="LLAMA_STACK_MCP_URL is not set")
async def test_the_tools_of_mcp_servers_are_listed(stack: LiveStack) -> None:
    """In one shape, whoever lists them."""
    await stack.start_conversation("alice")  # the agents API learns of them with its agent
    rows = [row for row in await stack.tools() if row["toolgroup_id"] == "mcp::mock"]
    (add,) = [row for row in rows if row["name"] == "add_numbers"]
    assert add["provider_id"] == "model-context-protocol"
    assert add["description"] == "Add two integers."
    assert set(add["input_schema"]["properties"]) == {"a", "b"}


async def test_secrets_of_providers_are_masked(stack: LiveStack) -> None:
    """By the server."""
    for provider in await stack.providers():
        for key, value in (provider.get("config") or {}).items():
            if key.endswith(("token", "api_key", "password", "secret")):
                assert value is None or set(str(value)) <= {"*"}, key
