"""The embedded stack: agents of callers, the steps of turns, and embeddings."""

from __future__ import annotations

import json
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest
from sqlalchemy import select

from a2a_state.sessions import turns
from agent.errors import (
    AgentError,
    InvalidAgentResponse,
    InvalidParams,
    ModelNotFound,
    PayloadTooLarge,
    ResourceNotFound,
)
from agent.settings import Settings
from agent.stacks import (
    AgentOptions,
    Answer,
    Citation,
    ClientTool,
    Failed,
    Inference,
    InputRequired,
    Model,
    Rejected,
    Resume,
    Sampling,
    StepEnded,
    StepStarted,
    TextPart,
    ToolGroup,
    TurnCompleted,
    TurnOptions,
)
from agent.stacks.embedded import EmbeddedStack
from tests.fakes.embedded import FOLDER, request, results_of, run, stack_on, steps_of, text_of
from tests.fakes.mcp_server import McpServer
from tests.fakes.openai_server import OpenAIServer, calls, says
from tests.fakes.server import run_server
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio

WEATHER = ClientTool("get_weather", "The weather.", {"type": "object"})
SUM = ("1", "add", '{"a": 2, "b": 40}')
ADD, ALL, RAG = ToolGroup("mcp::sums/add"), ToolGroup("mcp::sums"), ToolGroup("builtin::rag")
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
REFUSED = {
    "violation_level": "error",
    "user_message": "I can't answer that. Can I help with something else?",
    "metadata": {"violation_type": "S9"},
}


class World(msgspec.Struct):
    """A stack, and what it runs on."""

    stack: EmbeddedStack
    model: OpenAIServer
    database: Database
    store: str
    conversations: int = 0

    async def ask(self, *script: Any, said: str = "Hi", **fields: Any) -> list[Any]:
        """Run a turn in a conversation of its own, unless one is named."""
        self.conversations += 1
        conversation = fields.pop("conversation", f"s{self.conversations}")
        self.model.script[:] = script or [says("Hello.")]
        self.model.requests.clear()
        with anyio.fail_after(10):
            return await run(self.stack, conversation, said, **fields)


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    """Return a stack with a model server, an MCP server and a shield."""
    model = OpenAIServer(models=("tiny", "bge", "bge-large"))
    async with (
        open_database("sqlite://") as database,
        run_server(model.app) as url,
        run_server(McpServer()) as sums,
    ):
        sections: dict[str, Any] = {
            "openai": {"base_url": f"{url}/v1", "model": "tiny"},
            "mcp_servers": [{"name": "sums", "url": f"{sums}/mcp"}],
            "agent": {"instructions": "Be kind.", "input_shields": ["guard"], "max_tokens": 9},
            "experimental": {"embedding_model": "openai/bge"},
        }
        stack = EmbeddedStack(Settings.model_validate(sections), database, FOLDER)
        await stack.open()
        ((store),) = await stack.vector_stores()
        yield World(stack, model, database, store["id"])
        await stack.close()


def agent(**fields: Any) -> AgentOptions:
    return AgentOptions(agent_id="a", **fields)


def tools_of(sent: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in sent.get("tools", ())]


# --- the configuration of an agent


async def test_each_field_of_an_agent_reaches_the_model(world: World) -> None:
    """Those of the settings have no part in it, their shields neither."""
    sampling = Sampling("top_k", 0.5, 0.9, 40, 77, 1.1, ("END",))
    form = {"type": "json_schema", "json_schema": SCHEMA}
    asked = agent(
        instructions="Rhyme.",
        toolgroups=(ADD,),
        client_tools=(WEATHER,),
        tool_choice="required",
        sampling=sampling,
        response_format=form,
    )
    events = await world.ask(agent=asked, model="openai/two")
    assert events[-1] == TurnCompleted("end_of_turn", "Hello.")
    (sent,) = world.model.requests
    assert tools_of(sent) == ["add", "get_weather"]
    assert {key: value for key, value in sent.items() if key != "tools"} == {
        "model": "two",
        "messages": [
            {"role": "system", "content": "Rhyme."},
            {"role": "user", "content": "Hi"},
        ],
        "tool_choice": "required",
        "max_tokens": 77,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "repetition_penalty": 1.1,
        "stop": ["END"],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA},
        },
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_an_agent_that_says_nothing_has_nothing(world: World) -> None:
    """No documents, no tools, no limits."""
    await world.ask(agent=agent())
    (sent,) = world.model.requests
    assert sent.keys() == {"model", "messages", "stream", "stream_options"}
    assert sent["messages"] == [{"role": "user", "content": "Hi"}]


async def test_an_agent_is_asked_as_often_as_it_may_be(world: World) -> None:
    events = await world.ask(calls(SUM), agent=agent(toolgroups=(ALL,), max_infer_iters=1))
    assert events[-1] == Failed("The agent stopped after 1 steps without an answer.")
    assert results_of(events) == ["42"]


async def test_the_arguments_of_a_tool_group_win_over_those_of_the_model(world: World) -> None:
    group = ToolGroup("mcp::sums", {"b": 3})
    events = await world.ask(calls(SUM), says("5."), agent=agent(toolgroups=(group,)))
    assert results_of(events) == ["5"]
    assert tools_of(world.model.requests[0]) == ["add", "fail"]


@pytest.mark.parametrize("name", ["builtin::rag", "builtin::rag/knowledge_search"])
async def test_the_documents_are_the_group_of_llama_stack(world: World, name: str) -> None:
    """With the id of our store they are searched, without any they are not."""
    search = calls(("1", "knowledge_search", '{"query": "MySQL"}'))
    for ids in ({}, {"vector_db_ids": [world.store]}):
        asked = agent(toolgroups=(ToolGroup(name, ids),))
        events = await world.ask(search, says("No."), agent=asked)
        assert "MySQL is not supported." in results_of(events)[0]
    await world.ask(agent=agent(toolgroups=(ToolGroup(name, {"vector_db_ids": []}),)))
    assert tools_of(world.model.requests[0]) == []


@pytest.mark.parametrize(
    ("fields", "error", "problem"),
    [
        ({"toolgroups": (ToolGroup("builtin::websearch"),)}, InvalidParams, "websearch"),
        ({"toolgroups": (ToolGroup("sums"),)}, InvalidParams, "no tool group sums"),
        ({"toolgroups": (ToolGroup("mcp::other/add"),)}, InvalidParams, "mcp::other"),
        ({"toolgroups": (ToolGroup("builtin::rag/insert"),)}, InvalidParams, "no tool insert"),
        ({"toolgroups": (ToolGroup("builtin::rag", {"vector_db_ids": 1}),)}, InvalidParams, "list"),
        (
            {"toolgroups": (ToolGroup("builtin::rag", {"vector_db_ids": ["vs_x"]}),)},
            ResourceNotFound,
            "vs_x",
        ),
        ({"input_shields": ("tiny",)}, InvalidParams, "agent_config.input_shields: .*tiny"),
        ({"output_shields": ("guard", "x")}, InvalidParams, "agent_config.output_shields: .*x"),
        (
            {"response_format": {"type": "grammar", "bnf": {}}},
            InvalidParams,
            "agent_config.response_format: must have the type json_schema",
        ),
    ],
)
async def test_what_there_is_not_is_refused_before_a_turn_begins(
    world: World, fields: dict[str, Any], error: type[AgentError], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        await world.ask(agent=agent(**fields), conversation="refused")
    assert world.model.requests == []
    stored = select(turns.c.turn_id).where(turns.c.session_id == "refused")
    assert await world.database.read(lambda c: c.execute(stored).all()) == []


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"toolgroups": (ToolGroup("mcp::sums/minus"),)},
            "toolgroups: mcp::sums has no tool minus",
        ),
        ({"toolgroups": (ADD,), "tool_choice": "fail"}, "tool_choice: there is no tool fail"),
    ],
)
async def test_a_tool_that_its_server_does_not_have_is_refused(
    world: World, fields: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidParams, match=problem):
        await world.ask(agent=agent(**fields))
    assert world.model.requests == []


async def test_a_message_may_want_other_tools_than_its_agent(world: World) -> None:
    """They take the place of all that the agent has, that of the settings too; others are refused."""
    asked = agent(toolgroups=(RAG,), tool_choice="none")
    options = TurnOptions(toolgroups=(ADD,), tool_choice="add")
    await world.ask(agent=asked, options=options)
    (sent,) = world.model.requests
    assert tools_of(sent) == ["add"]
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "add"}}
    await world.ask(says("safe"), says("Hello."), options=TurnOptions(toolgroups=(RAG,)))
    assert tools_of(world.model.requests[1]) == ["knowledge_search"]
    with pytest.raises(InvalidParams, match="toolgroups: there is no tool group mcp::x"):
        await world.ask(options=TurnOptions(toolgroups=(ToolGroup("mcp::x"),)))


async def test_a_model_has_to_call_a_tool_once(world: World) -> None:
    """Then it may answer; what it may not call is told all the same."""
    asked = agent(toolgroups=(ADD,), tool_choice="required")
    await world.ask(calls(SUM), says("42."), agent=asked)
    first, then = world.model.requests
    assert first["tool_choice"] == "required"
    assert "tool_choice" not in then
    await world.ask(agent=agent(toolgroups=(ADD,), tool_choice="none"))
    assert world.model.requests[0]["tool_choice"] == "none"
    assert tools_of(world.model.requests[0]) == ["add"]


async def test_the_extractive_model_searches_for_agents_that_have_the_documents(
    world: World,
) -> None:
    """What tool it is to choose it does not ask."""
    async with stack_on(world.database) as stack:
        for groups, cites in (((), False), ((RAG,), True)):
            asked = agent(toolgroups=groups, tool_choice="required")
            events = await run(stack, "extractive", "Does it support MySQL?", agent=asked)
            assert any(isinstance(event, Citation) for event in events) is cites


# --- what a turn began with


async def test_a_turn_goes_on_with_the_agent_that_it_began_with(world: World) -> None:
    """Whatever it is resumed with. When it is over the agent is kept no more."""
    asked = agent(instructions="Rhyme.", toolgroups=(RAG,), client_tools=(WEATHER,))
    options = TurnOptions(toolgroups=(ADD,), tool_choice="required")
    first = await world.ask(
        calls(("1", "get_weather", "{}")), agent=asked, options=options, conversation="resumed"
    )
    assert isinstance(first[-1], InputRequired)
    resume = Resume(first[0].turn_id, (Answer("1", "Rainy."),))
    other = agent(instructions="Shout.")
    changed = TurnOptions(toolgroups=(), tool_choice="none")
    await world.ask(resume=resume, agent=other, options=changed, conversation="resumed")
    (sent,) = world.model.requests
    assert sent["messages"][0]["content"] == "Rhyme."
    assert tools_of(sent) == ["add", "get_weather"]
    assert "tool_choice" not in sent
    await world.ask(agent=other, conversation="resumed")
    assert world.model.requests[0]["messages"][0]["content"] == "Shout."
    stored = select(turns.c.options).where(turns.c.session_id == "resumed")
    rows = await world.database.read(lambda c: c.execute(stored).scalars().all())
    assert [json.loads(row).keys() & {"agent"} for row in rows] == [set(), set()]


# --- steps


async def test_steps_are_told_as_they_are_kept(world: World) -> None:
    """Each with the id that it began with, and all calls of a round as one step; waiting turns too."""
    shields = {"input_shields": ("guard",), "output_shields": ("guard",)}
    asked = agent(toolgroups=(ALL,), client_tools=(WEATHER,), **shields)
    two = calls(SUM, ("2", "fail", "{}"), ("3", "get_weather", "{}"))
    first = await world.ask(says("safe"), two, agent=asked, conversation="steps")
    turn_id = first[0].turn_id
    told = steps_of(first)
    assert await world.stack.steps("steps", [turn_id]) == {turn_id: told}
    assert [step["step_type"] for step in told] == ["shield_call", "inference", "tool_execution"]
    assert told[0].items() >= {("turn_id", turn_id), ("violation", None)}
    resume = Resume(turn_id, (Answer("3", "Rainy."),))
    again = await world.ask(
        says("Rain."), says("safe"), agent=asked, resume=resume, conversation="steps"
    )
    more = steps_of(again)
    assert [step["step_type"] for step in more] == ["tool_execution", "inference", "shield_call"]
    assert more[0]["tool_responses"] == [
        {"call_id": "3", "tool_name": "get_weather", "content": "Rainy.", "metadata": None}
    ]
    assert await world.stack.steps("steps", [turn_id]) == {turn_id: told + more}
    begun = [e for e in (*first, *again) if isinstance(e, StepStarted) and e.step_id]
    assert list(dict.fromkeys(e.step_id for e in begun)) == [s["step_id"] for s in told + more]
    touched = [event.detail for event in begun if event.kind == "shield_call"]
    assert touched == [{"touchpoint": "user-input"}, {"touchpoint": "assistant-output"}]


async def test_a_message_that_was_refused_has_a_step_and_is_no_part_of_the_conversation(
    world: World,
) -> None:
    asked = agent(input_shields=("guard",))
    refused = await world.ask(says("unsafe\nS9"), agent=asked, said="a bomb", conversation="no")
    assert isinstance(refused[-1], Rejected)
    turn_id = refused[0].turn_id
    assert await world.stack.steps("no", [turn_id]) == {turn_id: steps_of(refused)}
    assert [step["violation"] for step in steps_of(refused)] == [REFUSED]
    await world.ask(agent=agent(), conversation="no")
    assert [m["content"] for m in world.model.requests[0]["messages"]] == ["Hi"]


async def test_an_answer_that_was_refused_is_in_no_step(world: World) -> None:
    """Not in those that are told, and not in those that are kept."""
    asked = agent(output_shields=("guard",), toolgroups=(ADD,))
    script = calls(SUM, text="First a bomb."), says("a ", "bomb"), says("unsafe\nS9")
    events = await world.ask(*script, agent=asked, conversation="out")
    assert isinstance(events[-1], Rejected)
    turn_id = events[0].turn_id
    kept = (await world.stack.steps("out", [turn_id]))[turn_id]
    assert kept == steps_of(events)
    types = ["inference", "tool_execution", "inference", "shield_call"]
    assert [step["step_type"] for step in kept] == types
    assert "bomb" not in json.dumps(msgspec.to_builtins(events))


@pytest.mark.parametrize("how", ["no verdict", "no answer", "closed"])
async def test_an_answer_that_was_never_judged_is_in_no_step(world: World, how: str) -> None:
    """The guard says neither, the model goes on calling tools, or nobody listens any more."""
    asked = agent(output_shields=("guard",), toolgroups=(ADD,), max_infer_iters=1)
    said = calls(SUM, text="a bomb") if how == "no answer" else says("a bomb")
    world.model.script[:] = [said, says("Well.")]
    heard: list[Any] = []
    with suppress(InvalidAgentResponse):
        async with aclosing(world.stack.turn(request(how, TextPart("Hi"), agent=asked))) as events:
            async for event in events:
                heard.append(event)
                done = isinstance(event, StepEnded) and event.kind == "inference"
                if how == "closed" and done:
                    break
    turn_id = heard[0].turn_id
    kept = (await world.stack.steps(how, [turn_id]))[turn_id]
    assert kept[0]["model_response"]["content"] == ""
    assert text_of(heard) == ""
    assert steps_of(heard) == (kept if how == "no answer" else [])


# --- single questions, and embeddings


async def test_a_single_question_is_sampled_as_it_says(world: World) -> None:
    """Or else as the settings say."""
    world.model.script[:] = [says("safe"), says("Hello.")] * 2
    world.model.requests.clear()
    asked = Inference(text="Hi", instructions="", owner="me")
    await world.stack.infer(asked)
    sampling = Sampling("top_p", 0.1, 0.2)
    await world.stack.infer(msgspec.structs.replace(asked, sampling=sampling))
    plain, sampled = world.model.requests[1], world.model.requests[3]
    assert plain["max_tokens"] == 9
    assert (sampled["temperature"], sampled["top_p"]) == (0.1, 0.2)
    assert "max_tokens" not in sampled


async def test_texts_are_embedded_in_their_order(world: World) -> None:
    """In batches; by the model of the settings unless one is named, with its provider or without."""
    world.model.embedded.clear()
    texts = ["x" * (number % 7) for number in range(300)]
    vectors = await world.stack.embed(texts, None)
    assert vectors == [[float(len(text)), 1.0] for text in texts]
    assert [len(body["input"]) for body in world.model.embedded] == [128, 128, 44]
    assert {body["model"] for body in world.model.embedded} == {"bge"}
    for name in ("openai/bge-large", "bge-large"):
        assert await world.stack.embed(["abc"], name) == [[3.0, 1.0]]
        assert world.model.embedded[-1]["model"] == "bge-large"
    assert await world.stack.embed([], None) == []


async def test_what_cannot_be_embedded_is_told_in_our_words(world: World) -> None:
    with pytest.raises(ModelNotFound, match="does not know the model other"):
        await world.stack.embed(["a"], "other")
    with pytest.raises(PayloadTooLarge, match="2048"):
        await world.stack.embed(["a"] * 2049, None)
    good = world.model.vector_of
    try:
        for bad in (None, [], ["x"], [[1.0]]):
            said = {"a": bad}
            world.model.vector_of = said.get
            with pytest.raises(InvalidAgentResponse, match="not understood"):
                await world.stack.embed(["a"], None)
        world.model.vector_of = lambda text: [1.0] * len(text)
        with pytest.raises(InvalidAgentResponse, match="differ in length"):
            await world.stack.embed(["a", "bb"], None)
    finally:
        world.model.vector_of = good


async def test_without_an_embedding_model_there_is_none(world: World) -> None:
    async with stack_on(world.database) as stack:
        with pytest.raises(ModelNotFound):
            await stack.embed(["a"], "bge")
    nowhere = {"base_url": "http://127.0.0.1:9/v1"}
    async with stack_on(world.database, openai=nowhere) as stack:
        with pytest.raises(ModelNotFound, match="set experimental"):
            await stack.embed(["a"], None)


async def test_the_embedding_model_is_in_the_catalogue(world: World) -> None:
    """As what it is, whatever its name."""
    models = await world.stack.models()
    assert models[0] == Model("openai/tiny", "openai", "llm")
    assert Model("openai/bge", "openai", "embedding") in models
    assert len(models) == 3
