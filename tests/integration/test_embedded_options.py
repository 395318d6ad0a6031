"""The embedded stack: what a message may want otherwise, what a caller is shown, and single questions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from a2a_state.sessions import sessions, turns
from agent.errors import (
    InvalidParams,
    ModelNotFound,
    PromptTooLong,
    ResourceNotFound,
    TurnFailed,
)
from agent.metering import Meter
from agent.stacks import (
    Answer,
    AuthRequired,
    Citation,
    ClientTool,
    Inference,
    Inferred,
    InputRequired,
    Rejected,
    Resume,
    StepEnded,
    StepStarted,
    TextPart,
    TurnCompleted,
    TurnOptions,
    TurnStarted,
    Usage,
)
from agent.stacks.embedded.knowledge import Knowledge
from agent.stacks.single_turn import TOPIC
from tests.fakes.embedded import FOLDER, plain, request, run, stack_on, stack_with, text_of
from tests.fakes.mcp_server import McpServer
from tests.fakes.openai_server import OpenAIServer, Reply, calls, fails, says
from tests.fakes.server import run_server
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio

WEATHER = ClientTool("get_weather", "The weather.", {"type": "object"})
SUM = ("1", "add", '{"a": 2, "b": 40}')


@pytest.fixture
async def memory() -> AsyncIterator[Database]:
    """Return a database in memory, for what does not depend on its kind."""
    async with open_database("sqlite://") as database:
        yield database


def store_of(database: Database) -> str:
    """Return the id of the folder of documents as a vector store."""
    return Knowledge(database, FOLDER).store_id


def tools_of(sent: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in sent.get("tools", ())]


def of_kind(events: list[Any], kind: str) -> list[Any]:
    return [e for e in events if isinstance(e, StepStarted | StepEnded) and e.kind == kind]


def cited(events: list[Any]) -> list[Citation]:
    return [event for event in events if isinstance(event, Citation)]


async def stored(database: Database) -> tuple[int, int]:
    """Count the sessions and the turns."""
    of_sessions, of_turns = (select(func.count()).select_from(each) for each in (sessions, turns))
    return await database.read(
        lambda c: (c.execute(of_sessions).scalar_one(), c.execute(of_turns).scalar_one())
    )


# --- options of one message


async def test_instructions_hold_for_one_turn_also_when_it_is_resumed(memory: Database) -> None:
    """The next turn has those of the settings again."""
    server = OpenAIServer(calls(("1", "get_weather", "{}")), says("Rain, main."), says("Yes."))
    rhyme = TurnOptions(instructions="Rhyme.")
    agent = {"instructions": "Be kind."}
    async with stack_with(memory, server, agent=agent) as stack:
        first = await run(stack, "s", "Weather?", tools=(WEATHER,), options=rhyme)
    async with stack_with(memory, server, agent=agent) as stack:
        resume = Resume(first[0].turn_id, (Answer("1", "Rainy."),))
        other = TurnOptions(instructions="Shout.", no_tools=True)
        await run(stack, "s", "Rainy.", resume=resume, options=other)
        await run(stack, "s", "Really?")
    systems = [sent["messages"][0]["content"] for sent in server.requests]
    assert systems == ["Rhyme.", "Rhyme.", "Be kind."]
    assert "get_weather" in tools_of(server.requests[1])


async def test_a_turn_that_was_stored_without_options_is_resumed_as_configured(
    memory: Database,
) -> None:
    """As turns are that an earlier version has stored."""
    server = OpenAIServer(calls(("1", "get_weather", "{}")), says("Rain."))
    async with stack_with(memory, server, agent={"instructions": "Be kind."}) as stack:
        first = await run(stack, "s", "Weather?", tools=(WEATHER,))
        row = await memory.read(lambda c: c.execute(select(turns.c.options)).scalar_one())
        options = {key: value for key, value in json.loads(row).items() if key != "wanted"}
        assert len(options) < len(json.loads(row))
        older = turns.update().values(options=json.dumps(options).encode())
        await memory.write(lambda c: c.execute(older))
        resume = Resume(first[0].turn_id, (Answer("1", "Rainy."),))
        events = await run(stack, "s", "Rainy.", resume=resume)
    assert events[-1] == TurnCompleted("end_of_turn", "Rain.")
    assert server.requests[1]["messages"][0]["content"] == "Be kind."


async def test_without_tools_there_are_none_of_any_kind(memory: Database) -> None:
    """Not the documents, not the caller's, and no MCP server is even asked."""
    server = OpenAIServer(says("Hello."))
    tool = {"name": "configured", "description": "", "input_schema": {"type": "object"}}
    tools = McpServer()
    async with run_server(tools) as url:
        sections = {"mcp_servers": [{"name": "sums", "url": f"{url}/mcp"}]}
        agent = {"client_tools": [tool], "instructions": "Be kind."}
        async with stack_with(memory, server, agent=agent, **sections) as stack:
            plain = TurnOptions(no_tools=True)
            events = await run(stack, "s", "Hi", tools=(WEATHER,), options=plain)
            assert tools.seen == []
            await run(stack, "s", "Hi", tools=(WEATHER,))
    assert "tools" not in server.requests[0]
    assert server.requests[0]["messages"][0]["content"] == "Be kind."
    assert of_kind(events, "tool_listing") == []
    everything = ["knowledge_search", "add", "fail", "configured", "get_weather"]
    assert tools_of(server.requests[1]) == everything


@pytest.mark.parametrize(
    "options",
    [TurnOptions(no_tools=True), TurnOptions(vector_store_ids=())],
    ids=["no tools", "no stores"],
)
async def test_the_extractive_model_does_not_search_what_it_is_not_to_search(
    memory: Database, options: TurnOptions
) -> None:
    """It says what it is, and asks nobody; the conversation goes on as usual."""
    async with stack_on(memory) as stack:
        events = await run(stack, "s", "How do I set the port?", options=options)
        assert cited(events) == []
        assert "No language model is configured" in text_of(events)
        assert "not to be searched" in text_of(events)
        assert "Storage" not in text_of(events)
        again = await run(stack, "s", "How do I set the port?")
        assert cited(again)


async def test_the_extractive_model_calls_no_tool_without_tools(memory: Database) -> None:
    async with stack_on(memory) as stack:
        options = TurnOptions(no_tools=True)
        asked = TextPart("use get_weather {}")
        events = await run(stack, "s", asked, tools=(WEATHER,), options=options)
        assert text_of(events) == "There is no tool get_weather. The tools are: none."


async def test_the_folder_of_documents_is_the_one_vector_store(memory: Database) -> None:
    """Named it is searched, left out it is not, and there is no other."""
    server = OpenAIServer(says("Hello."))
    async with stack_with(memory, server) as stack:
        (store,) = await stack.vector_stores()
        for stores in ((store["id"],), ()):
            options = TurnOptions(vector_store_ids=stores)
            await run(stack, "s", "Hi", tools=(WEATHER,), options=options)
        before = await stored(memory)
        options = TurnOptions(vector_store_ids=(store["id"], "vs_other"))
        with pytest.raises(ResourceNotFound) as caught:
            await run(stack, "s", "Hi", options=options)
        assert await stored(memory) == before
    assert [tools_of(sent) for sent in server.requests] == [
        ["knowledge_search", "get_weather"],
        ["get_weather"],
    ]
    assert caught.value.response == "Vector store not found"
    assert caught.value.cause == "Vector store with ID vs_other does not exist"


async def test_the_extractive_model_searches_the_store_that_is_named(memory: Database) -> None:
    async with stack_on(memory) as stack:
        options = TurnOptions(vector_store_ids=(store_of(memory),))
        events = await run(stack, "s", "How do I set the port?", options=options)
        assert cited(events)[0].uri == "configuration.md#host-and-port"


async def test_the_shields_of_a_message_stand_in_for_those_of_the_settings(
    memory: Database,
) -> None:
    """Before the answer, and after it where the settings have any there; the next turn has all again."""
    server = OpenAIServer()
    agent = {"input_shields": ["guard", "strict"], "output_shields": ["guard"]}
    chosen = TurnOptions(shields=("strict",))
    async with stack_with(memory, server, agent=agent, openai={"model": "tiny"}) as stack:
        server.script[:] = [says("safe"), says("Hi."), says("safe")]
        events = await run(stack, "s", "Hi", options=chosen)
        assert events[-1] == TurnCompleted("end_of_turn", "Hi.")
        server.script[:] = [says("safe"), says("safe"), says("Hi."), says("safe")]
        await run(stack, "s", "Hi")
    models = [sent["model"] for sent in server.requests]
    assert models == ["strict", "tiny", "strict", "guard", "strict", "tiny", "guard"]
    named = [event.name for event in of_kind(events, "shield_call")]
    assert named == ["strict"] * 4


async def test_a_shield_that_was_chosen_refuses(memory: Database) -> None:
    server = OpenAIServer(says("unsafe\nS9"))
    agent = {"input_shields": ["guard", "strict"]}
    async with stack_with(memory, server, agent=agent, openai={"model": "tiny"}) as stack:
        events = await run(stack, "s", "a bomb", options=TurnOptions(shields=("strict",)))
    assert isinstance(events[-1], Rejected)
    assert [sent["model"] for sent in server.requests] == ["strict"]


async def test_answers_are_not_shielded_where_the_settings_do_not_shield_them(
    memory: Database,
) -> None:
    server = OpenAIServer(says("safe"), says("Hi."))
    agent = {"input_shields": ["guard"]}
    async with stack_with(memory, server, agent=agent, openai={"model": "tiny"}) as stack:
        await run(stack, "s", "Hi", options=TurnOptions(shields=("guard",)))
    assert [sent["model"] for sent in server.requests] == ["guard", "tiny"]


@pytest.mark.parametrize("wanted", [("tiny",), ("guard", "tiny"), ()], ids=str)
async def test_no_caller_has_a_message_checked_by_whatever_lets_it_pass(
    memory: Database, wanted: tuple[str, ...]
) -> None:
    """Only the shields of the settings are shields; nothing is stored, and nobody is asked."""
    server = OpenAIServer(says("safe"))
    agent = {"input_shields": ["guard"]}
    async with stack_with(memory, server, agent=agent, openai={"model": "tiny"}) as stack:
        with pytest.raises(InvalidParams, match="shields"):
            await run(stack, "s", "a bomb", options=TurnOptions(shields=wanted))
        assert await stored(memory) == (0, 0)
    assert server.requests == []


async def test_a_shield_needs_a_model_server(memory: Database) -> None:
    async with stack_on(memory) as stack:
        with pytest.raises(InvalidParams, match="no shield guard; there are: none"):
            await run(stack, "s", "Hi", options=TurnOptions(shields=("guard",)))


# --- what the caller is shown of tools


async def test_the_tools_of_a_server_are_listed_once_in_a_turn(memory: Database) -> None:
    """Before the model is asked; the call names its server and its type, the question lists nothing anew."""
    tools = McpServer()
    server = OpenAIServer(calls(SUM, ("2", "fail", "{}")), says("42."))
    async with run_server(tools) as url:
        mcp = {"name": "sums", "url": f"{url}/mcp", "require_approval": ["fail"]}
        group = ["mcp::sums/add", "mcp::sums/fail"]
        agent = {"toolgroups": group}
        async with stack_with(memory, server, mcp_servers=[mcp], agent=agent) as stack:
            first = await run(stack, "s", "2 + 40?")
            assert isinstance(first[-1], InputRequired)
            resume = Resume(first[0].turn_id, (Answer("2", "", approve=True),))
            events = await run(stack, "s", "yes", resume=resume)
    first = plain(first)
    begun, done = of_kind(first, "tool_listing")
    assert first.index(done) < first.index(StepStarted("inference"))
    assert begun == StepStarted("tool_listing", "sums", {"call_id": done.detail["call_id"]})
    assert done.name == "sums"
    add, fail = done.detail["tools"]
    assert (add["name"], add["description"]) == ("add", "Add two numbers.")
    assert add["input_schema"]["required"] == ["a", "b"]
    assert fail["name"] == "fail"
    assert done.detail.keys() == {"call_id", "tools"}
    assert of_kind(first, "tool_execution") == [
        StepStarted(
            "tool_execution",
            "add",
            {
                "call_id": "1",
                "arguments": {"a": 2, "b": 40},
                "type": "mcp_call",
                "server_label": "sums",
            },
        ),
        StepEnded("tool_execution", "add", {"call_id": "1", "result": "42"}),
    ]
    assert of_kind(events, "tool_listing") == []
    failed = of_kind(events, "tool_execution")[-1].detail
    assert (failed["call_id"], failed["failed"]) == ("2", True)
    assert events[-1] == TurnCompleted("end_of_turn", "42.")


async def test_a_listing_shows_only_the_tools_that_the_agent_has(memory: Database) -> None:
    server = OpenAIServer(says("Hi."))
    async with run_server(McpServer()) as url:
        mcp = [{"name": "sums", "url": f"{url}/mcp"}]
        agent = {"toolgroups": ["mcp::sums/add"]}
        async with stack_with(memory, server, mcp_servers=mcp, agent=agent) as stack:
            events = await run(stack, "s", "Hi")
    (_, done) = of_kind(events, "tool_listing")
    assert [tool["name"] for tool in done.detail["tools"]] == ["add"]


async def test_a_server_that_is_down_has_a_listing_that_failed(memory: Database) -> None:
    server = OpenAIServer(says("Hi."))
    mcp = [{"name": "sums", "url": "http://127.0.0.1:9/mcp"}]
    async with stack_with(memory, server, mcp_servers=mcp) as stack:
        events = await run(stack, "s", "Hi")
    (begun, done) = of_kind(events, "tool_listing")
    assert done.detail == begun.detail | {"tools": [], "failed": True}
    assert events[-1] == TurnCompleted("end_of_turn", "Hi.")


async def test_a_listing_that_wants_credentials_is_told_when_it_succeeds(memory: Database) -> None:
    """First that it failed, then that the turn waits; the turn that is tried again lists anew."""
    tools = McpServer("Bearer good")
    server = OpenAIServer(says("Hi."))
    async with run_server(tools) as url:
        mcp = [{"name": "sums", "url": f"{url}/mcp"}]
        async with stack_with(memory, server, mcp_servers=mcp) as stack:
            first = await run(stack, "s", "Hi")
            tools.key = None
            again = await run(stack, "s", "now", resume=Resume(first[0].turn_id, ()))
    assert isinstance(first[-1], AuthRequired)
    assert of_kind(first, "tool_listing")[-1].detail["failed"] is True
    assert len(of_kind(again, "tool_listing")[-1].detail["tools"]) == 2


async def test_a_call_that_was_denied_has_failed(memory: Database) -> None:
    server = OpenAIServer(calls(SUM), says("Well."))
    async with run_server(McpServer()) as url:
        mcp = [{"name": "sums", "url": f"{url}/mcp", "require_approval": "always"}]
        async with stack_with(memory, server, mcp_servers=mcp) as stack:
            first = await run(stack, "s", "2 + 40?")
            resume = Resume(first[0].turn_id, (Answer("1", "", approve=False),))
            events = await run(stack, "s", "no", resume=resume)
    begun, done = of_kind(events, "tool_execution")
    assert begun.detail["type"] == "mcp_call"
    assert done.detail == {
        "call_id": "1",
        "result": "The user did not approve this call.",
        "failed": True,
    }


async def test_a_search_cites_the_passages_whole(memory: Database) -> None:
    """With everything that is known of them; the step says that it is a search."""
    server = OpenAIServer(calls(("1", "knowledge_search", '{"query": "set port"}')), says("9000."))
    async with stack_with(memory, server) as stack:
        events = await run(stack, "s", "Port?")
    begun = of_kind(events, "tool_execution")[0]
    assert begun.detail["type"] == "file_search_call"
    first = cited(events)[0]
    assert first.title == "Configuration > Host and port"
    assert first.document_id == "configuration.md"
    assert first.score is not None
    assert first.score > 0
    assert first.text is not None
    assert first.text in server.requests[1]["messages"][-1]["content"]


# --- tokens


async def test_the_extractive_model_tells_an_estimate_of_its_tokens(memory: Database) -> None:
    """Four characters each: of the conversation so far, and of what is said now."""
    async with stack_on(memory) as stack:
        first = await run(stack, "s", "Does it support MySQL?")
        second = await run(stack, "s", "hello")
    answer = len("MySQL is not supported.")
    question = len("Does it support MySQL?")
    assert [e for e in first if isinstance(e, Usage)] == [Usage(6, 6)]
    (told,) = [e for e in second if isinstance(e, Usage)]
    assert told.input_tokens == -(-(question + answer + len("hello")) // 4)
    assert told.output_tokens == -(-len(second[-1].text) // 4)


async def test_a_server_that_counts_no_tokens_is_estimated(memory: Database) -> None:
    """The system prompt, the tools and the conversation go in; text and calls come out."""
    silent = Reply(({"content": "12345678"},), usage=None)
    agent = {"instructions": "x" * 40}
    async with stack_with(memory, OpenAIServer(silent), agent=agent) as stack:
        events = await run(stack, "s", "1234", options=TurnOptions(no_tools=True))
    assert [e for e in events if isinstance(e, Usage)] == [Usage(11, 2)]


async def test_a_quota_counts_what_the_stack_tells(memory: Database) -> None:
    """No more and no less, with a tool in between; the conversation holds what was read and said last."""
    server = OpenAIServer(calls(("1", "knowledge_search", '{"query": "port"}')), says("9000."))
    asked = request("s", TextPart("Port?"))
    for stack_of in (stack_on(memory), stack_with(memory, server)):
        meter = Meter()
        meter.sent(asked)
        told: list[Usage] = []
        async with stack_of as stack:
            async for event in stack.turn(asked):
                meter.hear(event)
                told += [event] if isinstance(event, Usage) else []
        assert meter.spent == Usage(
            sum(usage.input_tokens for usage in told), sum(usage.output_tokens for usage in told)
        )
        assert meter.held == told[-1].input_tokens + told[-1].output_tokens
    assert meter.spent == Usage(24, 14)


# --- single questions


async def test_a_single_question_leaves_nothing_behind(memory: Database) -> None:
    """The model gets the instructions and the question alone, and no tools."""
    server = OpenAIServer(says("It is ", "8080."))
    asked = Inference(text="Port?", instructions="Be brief.", owner="me")
    async with stack_with(memory, server, agent={"temperature": 0.5}) as stack:
        assert await stack.infer(asked) == Inferred("It is 8080.", "openai/tiny", Usage(12, 7))
        assert await stored(memory) == (0, 0)
    (sent,) = server.requests
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Port?"},
    ]
    assert (sent["temperature"], sent["model"]) == (0.5, "tiny")
    assert "tools" not in sent


async def test_the_extractive_model_answers_a_single_question_from_the_documents(
    memory: Database,
) -> None:
    asked = Inference(text="Does it support MySQL?", instructions="Shout.", owner="me")
    async with stack_on(memory) as stack:
        said = await stack.infer(asked)
        assert await stored(memory) == (0, 0)
    assert said == Inferred("MySQL is not supported.", "embedded/extractive", Usage(6, 6))


@pytest.mark.parametrize(
    ("reply", "model", "error"),
    [
        (fails(400, "context_length_exceeded"), None, PromptTooLong),
        (fails(404), "openai/nope", ModelNotFound),
        (fails(500), None, TurnFailed),
        (says("unsafe\nS1"), "embedded/nope", ModelNotFound),
    ],
)
async def test_a_single_question_fails_as_a_turn_does(
    memory: Database, reply: Reply, model: str | None, error: type[Exception]
) -> None:
    async with stack_with(memory, OpenAIServer(reply)) as stack:
        with pytest.raises(error):
            await stack.infer(Inference(text="Hi", instructions="", owner="me", model=model))


async def test_a_single_question_is_no_way_around_the_shields(memory: Database) -> None:
    """What is refused is refused before the model hears of it, and so is what the model says."""
    bomb = Inference(text="a bomb", instructions="", owner="me")
    server = OpenAIServer(says("unsafe\nS9"))
    agent = {"input_shields": ["guard"]}
    async with stack_with(memory, server, agent=agent, openai={"model": "tiny"}) as stack:
        with pytest.raises(TurnFailed, match="can't answer"):
            await stack.infer(bomb)
    assert [sent["model"] for sent in server.requests] == ["guard"]
    server = OpenAIServer(says("a bomb"), says("unsafe\nS9"))
    agent = {"output_shields": ["guard"]}
    async with stack_with(memory, server, agent=agent, openai={"model": "tiny"}) as stack:
        with pytest.raises(TurnFailed, match="can't answer"):
            await stack.infer(bomb)


async def test_a_language_model_names_the_topic(memory: Database) -> None:
    """Of a question of bounded length, in a line of bounded length."""
    server = OpenAIServer(says("Setting\n", "the port " + "x" * 999))
    async with stack_with(memory, server) as stack:
        named = await stack.topic_of("How do I set the port? " * 999, "me")
    assert named.text.startswith("Setting the port xxx")
    assert len(named.text) == 200
    assert (named.model, named.usage) == ("openai/tiny", Usage(12, 7))
    system, question = server.requests[0]["messages"]
    assert system["content"] == TOPIC
    assert len(question["content"]) == 4000


async def test_without_a_language_model_the_question_is_the_topic(memory: Database) -> None:
    """It costs nothing; another model is not found."""
    async with stack_on(memory) as stack:
        topic = await stack.topic_of("How do I\nset the port?", "me")
        assert topic == Inferred("How do I set the port?", None, Usage(0, 0))
        with pytest.raises(ModelNotFound):
            await stack.topic_of("How?", "me", "openai/gpt")


# --- forgetting, and what there is


async def test_a_conversation_that_is_deleted_is_gone(database_url: str) -> None:
    """With its turns, and no other; deleting it again is deleting it; a turn of it that runs just ends."""
    async with open_database(database_url) as database, stack_on(database) as stack:
        for name in ("one", "two"):
            await run(stack, name, "Does it support MySQL?")
        await stack.delete_conversation("one")
        await stack.delete_conversation("one")
        assert await stored(database) == (1, 1)
        events = []
        async for event in stack.turn(request("two", TextPart("Does it support MySQL?"))):
            if isinstance(event, TurnStarted):
                await stack.delete_conversation("two")
            events.append(event)
        assert events[-1] == TurnCompleted("end_of_turn", "MySQL is not supported.")
        assert await stored(database) == (0, 0)


async def test_the_catalogue_speaks_of_providers_that_there_are(memory: Database) -> None:
    """Each tool has one of the providers of tools; each model one of those of inference."""
    async with run_server(McpServer()) as url:
        mcp = [{"name": name, "url": f"{url}/mcp"} for name in ("a", "b")]
        async with stack_on(memory, mcp_servers=mcp) as stack:
            tools, providers = await stack.tools(), await stack.providers()
            (model,) = await stack.models()
            (store,) = await stack.vector_stores()
    of_api: dict[str, list[str]] = {}
    for provider in providers:
        of_api.setdefault(provider["api"], []).append(provider["provider_id"])
    assert of_api["tool_runtime"] == ["embedded", "model-context-protocol"]
    assert [tool["provider_id"] for tool in tools] == ["embedded", *["model-context-protocol"] * 4]
    assert model.identifier == f"{of_api['inference'][0]}/extractive"
    assert store.items() >= {
        ("object", "vector_store"),
        ("status", "completed"),
        ("name", "knowledge"),
        ("expires_at", None),
    }
    assert store["id"] == store_of(memory)
    assert isinstance(store["created_at"], int)
    assert store["last_active_at"] >= store["created_at"] > 0
