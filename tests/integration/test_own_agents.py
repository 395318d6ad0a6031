"""The agents API on the embedded engine: agents, sessions, turns with their steps, and what bounds them."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.errors import InvalidParams, ResourceNotFound, UnsupportedOperation
from agent.model import GetRequest, ListRequest, Message, Part, Role, SendRequest, Task, TaskState
from tests.fakes.openai_server import OpenAIServer, calls, fails, says
from tests.fakes.own_agents import Asker, asking, kinds
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.openai_server import Reply

pytestmark = pytest.mark.anyio

WEATHER = {"name": "get_weather", "input_schema": {"type": "object"}}
PNG = "iVBORw0KGgo="
PAGE = "https://example.org/doc.txt"


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[tuple[Asker, OpenAIServer]]:
    """Yield Ann, and the model server that answers her."""
    model = OpenAIServer(models=("tiny", "guard"))
    async with AsyncExitStack() as opened:
        url = await opened.enter_async_context(run_server(model.app))
        settings: dict[str, Any] = {
            "openai": {"base_url": f"{url}/v1", "api_key": "k", "model": "tiny"},
            "agent": {"input_shields": ["guard"], "name": "house"},
            "experimental": {"agents_per_owner": 3},
            "limits": {"parts": 8},
        }
        ann = await opened.enter_async_context(
            asking({PAGE: b"page", "https://example.org/a.png": b"\x89PNG\r\n\x1a\n"}, **settings)
        )
        yield ann, model


@pytest.fixture(scope="module")
async def agent_id(world: tuple[Asker, OpenAIServer]) -> str:
    """Return an agent of Ann's, with a tool that she runs."""
    return await world[0].agent(name="mine", client_tools=[WEATHER], toolgroups=[])


@pytest.fixture
def ann(world: tuple[Asker, OpenAIServer]) -> Asker:
    """Return Ann."""
    return world[0]


@pytest.fixture
def model(world: tuple[Asker, OpenAIServer]) -> OpenAIServer:
    """Return the model server, which has been asked nothing."""
    world[1].requests.clear()
    return world[1]


def script(model: OpenAIServer, *replies: Reply) -> None:
    """Have the model say this."""
    model.script[:] = replies


async def test_an_agent_is_shown_with_the_defaults_of_the_api(ann: Asker, agent_id: str) -> None:
    shown = await ann.api.get(ann.caller, agent_id)
    assert shown["agent_id"] == agent_id
    assert shown["created_at"].endswith("Z")
    assert shown["agent_config"] == {
        "sampling_params": {
            "strategy": {"type": "greedy"},
            "max_tokens": 0,
            "repetition_penalty": 1.0,
            "stop": None,
        },
        "input_shields": [],
        "output_shields": [],
        "toolgroups": [],
        "client_tools": [
            {
                "toolgroup_id": None,
                "name": "get_weather",
                "description": None,
                "input_schema": {"type": "object"},
                "output_schema": None,
                "metadata": None,
            }
        ],
        "tool_choice": None,
        "tool_prompt_format": None,
        "tool_config": {
            "tool_choice": "auto",
            "tool_prompt_format": None,
            "system_message_behavior": "append",
        },
        "max_infer_iters": 10,
        "model": "tiny",
        "instructions": "Be brief.",
        "name": "mine",
        "enable_session_persistence": False,
        "response_format": None,
    }


async def test_the_agent_of_the_settings_is_listed_first_and_cannot_be_deleted(
    ann: Asker, agent_id: str
) -> None:
    listed = await ann.api.list(ann.caller, 0, 1)
    assert [each["agent_config"]["name"] for each in listed["data"]] == ["house"]
    assert (listed["has_more"], listed["url"]) == (True, "/v1alpha/agents")
    [house] = listed["data"]
    assert house["agent_config"]["model"] == "openai/tiny"
    assert house["created_at"] > "2026"
    assert await ann.api.get(ann.caller, ann.api.settings_agent_id) == house
    rest = await ann.api.list(ann.caller, 1, 10)
    assert agent_id in [each["agent_id"] for each in rest["data"]]
    assert not rest["has_more"]
    with pytest.raises(UnsupportedOperation):
        await ann.api.delete(ann.caller, ann.api.settings_agent_id)


async def test_an_owner_has_only_so_many_agents_and_deletes_them_with_their_sessions(
    ann: Asker, model: OpenAIServer
) -> None:
    bob = ann.by("bob")
    made = [await bob.agent() for _ in range(3)]
    with pytest.raises(UnsupportedOperation, match="3 agents"):
        await bob.agent()
    script(model, says("hi"))
    session = await bob.session(made[0])
    turn = (await bob.say(made[0], session, "hi"))[-1]["turn"]
    await bob.api.delete(bob.caller, made[0])
    await bob.api.delete(bob.caller, made[0])
    with pytest.raises(ResourceNotFound):
        await bob.session(made[0])
    with pytest.raises(ResourceNotFound):
        await bob.turns(made[0], session)
    listed = await ann.engine.service.list(bob.caller, ListRequest(context_id=session))
    assert listed.tasks == []
    assert turn["output_message"]["content"] == "hi"
    await bob.agent()


async def test_an_agent_is_deleted_by_two_at_once_while_a_turn_runs(
    ann: Asker, model: OpenAIServer
) -> None:
    bob = ann.by("ben")
    agent = await bob.agent()
    session = await bob.session(agent)
    script(model, says("so", ending="hang"))
    running = await bob.begin(agent, session, "hi")
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(bob.api.delete, bob.caller, agent)
        group.start_soon(bob.api.delete_session, bob.caller, agent, session)
    await running.aclose()
    with pytest.raises(ResourceNotFound):
        await bob.api.get(bob.caller, agent)


async def test_a_configuration_that_is_none_is_refused(ann: Asker) -> None:
    with pytest.raises(InvalidParams, match="agent_config"):
        await ann.agent(max_infer_iters="many")


async def test_a_turn_is_told_as_it_happens_and_kept_as_it_was_told(
    ann: Asker, agent_id: str, model: OpenAIServer
) -> None:
    script(model, says("Hel", "lo"))
    session = await ann.session(agent_id, "first")
    told = await ann.say(agent_id, session, "hi")
    assert kinds(told) == [
        "step_start inference",
        *["step_progress inference"] * 2,
        "step_complete inference",
        "turn_complete",
    ]
    turn = told[-1]["turn"]
    assert turn["session_id"] == session
    assert turn["input_messages"] == [{"role": "user", "content": "hi", "context": None}]
    assert turn["output_message"]["content"] == "Hello"
    assert turn["output_attachments"] == []
    assert [step["turn_id"] for step in turn["steps"]] == [turn["turn_id"]]
    assert await ann.turns(agent_id, session) == [turn]
    step = turn["steps"][0]
    asked = (agent_id, session, turn["turn_id"], step["step_id"])
    assert await ann.api.get_step(ann.caller, *asked) == {"step": step}
    with pytest.raises(ResourceNotFound):
        await ann.api.get_step(ann.caller, *asked[:3], "nope")
    assert model.requests[0]["messages"][0]["content"].startswith("Be brief.")
    # Not all servers know all that Llama Stack has defaults for.
    assert {*model.requests[0]} == {"model", "messages", "stream", "stream_options", "tools"}


async def test_turns_follow_each_other_and_are_shown_in_their_order(
    ann: Asker, agent_id: str, model: OpenAIServer
) -> None:
    script(model, says("one"), says("two"))
    session = await ann.session(agent_id)
    first = (await ann.say(agent_id, session, "1"))[-1]["turn"]
    second = (await ann.say(agent_id, session, "2"))[-1]["turn"]
    assert await ann.turns(agent_id, session) == [first, second]
    some = await ann.api.get_session(ann.caller, agent_id, session, [second["turn_id"], "x"])
    assert some["turns"] == [second]
    assert [m["content"] for m in model.requests[1]["messages"][-3:]] == ["1", "one", "2"]


async def test_a_turn_waits_for_the_results_of_the_callers_tools_and_goes_on_with_them(
    ann: Asker, agent_id: str, model: OpenAIServer
) -> None:
    script(model, calls(("c-1", "get_weather", '{"city": "Oslo"}')), says("cold"))
    session = await ann.session(agent_id)
    waits = (await ann.say(agent_id, session, "weather?"))[-1]
    assert waits["event_type"] == "turn_awaiting_input"
    call = {"call_id": "c-1", "tool_name": "get_weather", "arguments": '{"city": "Oslo"}'}
    assert waits["turn"]["output_message"]["tool_calls"] == [call]
    turn_id = waits["turn"]["turn_id"]
    assert await ann.turns(agent_id, session) == [waits["turn"]]
    for wrong in ([], [{"call_id": "c-2", "content": "x"}], [{"call_id": "c-1", "content": 1}]):
        with pytest.raises(InvalidParams, match="tool_responses"):
            await ann.resume(agent_id, session, turn_id, wrong)
    given = {"call_id": "c-1", "tool_name": "get_weather"}
    told = await ann.resume(
        agent_id, session, turn_id, [{**given, "content": [{"type": "text", "text": "12C"}]}]
    )
    assert kinds(told)[:2] == ["step_complete tool_execution", "step_start inference"]
    turn = told[-1]["turn"]
    assert (told[-1]["event_type"], turn["turn_id"]) == ("turn_complete", turn_id)
    assert [step["step_type"] for step in turn["steps"]] == [
        "inference",
        "tool_execution",
        "inference",
    ]
    assert turn["input_messages"] == waits["turn"]["input_messages"]
    assert await ann.turns(agent_id, session) == [turn]
    with pytest.raises(InvalidParams, match="turn_id"):
        await ann.resume(agent_id, session, turn_id, [{**given, "content": "again"}])


async def test_a_new_turn_leaves_one_that_waits_as_it_is(
    ann: Asker, agent_id: str, model: OpenAIServer
) -> None:
    script(model, calls(("c-1", "get_weather", "{}")), says("never mind"))
    session = await ann.session(agent_id)
    waits = (await ann.say(agent_id, session, "weather?"))[-1]["turn"]
    after = (await ann.say(agent_id, session, "something else"))[-1]
    assert after["event_type"] == "turn_complete"
    assert await ann.turns(agent_id, session) == [waits, after["turn"]]


async def test_messages_are_given_back_as_they_were_sent(
    ann: Asker, agent_id: str, model: OpenAIServer
) -> None:
    script(model, says("ok"))
    session = await ann.session(agent_id)
    sent: list[dict[str, Any]] = [
        {"role": "user", "content": "first"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}],
        },
        {"role": "tool", "call_id": "c-9", "content": {"type": "text", "text": "42"}},
        {"role": "user", "content": "x", "context": [{"type": "text", "text": "y"}]},
    ]
    turn = (await ann.say(agent_id, session, *sent))[-1]["turn"]
    assert turn["input_messages"][:2] == [message | {"context": None} for message in sent[:2]]
    assert turn["input_messages"][2] == sent[2]
    assert turn["input_messages"][3] == sent[3]
    assert model.requests[0]["messages"][-1]["content"] == "first\n\na \n\nb\n\n42\n\nx\n\ny"


async def test_documents_go_with_the_last_message(
    ann: Asker, agent_id: str, model: OpenAIServer
) -> None:
    script(model, says("ok"))
    session = await ann.session(agent_id)
    documents = (
        {"content": {"type": "text", "text": "A"}, "mime_type": "text/markdown"},
        {"content": {"uri": PAGE}, "mime_type": "text/plain"},
        {"content": {"uri": "data:text/plain;base64,Qg=="}, "mime_type": "application/json"},
    )
    turn = (await ann.say(agent_id, session, "sum up: ", documents=documents))[-1]["turn"]
    assert turn["input_messages"][0]["content"] == "sum up: A\npage\nB"
    assert "page" in str(model.requests[0]["messages"][-1]["content"])
    task = await ann.engine.service.get(ann.caller, GetRequest(turn["turn_id"]))
    assert [part.media_type for part in task.history[0].parts[1:]] == [
        "text/markdown",
        "text/plain",
        "application/json",
    ]


async def test_images_are_given_back_as_they_were_sent(
    ann: Asker, agent_id: str, model: OpenAIServer
) -> None:
    script(model, says("a dot"))
    session = await ann.session(agent_id)
    by_value = {"type": "image", "image": {"data": PNG}}
    by_url = {"type": "image", "image": {"url": {"uri": "https://example.org/a.png"}}}
    turn = (await ann.say(agent_id, session, {"role": "user", "content": [by_value, by_url]}))[-1]
    assert turn["turn"]["input_messages"][0]["content"] == [
        {"type": "image", "image": {"url": None, "data": PNG}},
        {"type": "image", "image": {"url": {"uri": "https://example.org/a.png"}, "data": None}},
    ]
    sent = model.requests[0]["messages"][-1]["content"]
    assert [part["image_url"]["url"][:15] for part in sent] == ["data:image/png;"] * 2


@pytest.mark.parametrize(
    ("turn", "field"),
    [
        ({"messages": ()}, "messages"),
        ({"messages": ({"role": "user", "content": 1},)}, "messages.0.content"),
        ({"messages": ({"role": "user", "content": ["x"] * 9},)}, "messages"),
        (
            {"messages": ({"role": "user", "content": [{"type": "image", "image": {}}]},)},
            "messages",
        ),
        (
            {"documents": ({"content": "x", "mime_type": "application/pdf"},)},
            "documents.0.mime_type",
        ),
        (
            {"documents": ({"content": {"uri": "https://no"}, "mime_type": "text/a"},)},
            "documents.0",
        ),
        ({"documents": ({"content": {"uri": "data:x"}, "mime_type": "text/a"},)}, "documents.0"),
        ({"toolgroups": (1,)}, "toolgroups"),
        ({"toolgroups": ("mcp::nope",)}, "toolgroups"),
    ],
)
async def test_what_is_wrong_with_a_turn_is_named(
    ann: Asker, agent_id: str, turn: Any, field: str
) -> None:
    session = await ann.session(agent_id)
    messages = turn.pop("messages", ("hi",))
    with pytest.raises(InvalidParams, match=field):
        await ann.say(agent_id, session, *messages, **turn)
    assert await ann.turns(agent_id, session) == []


async def test_a_turn_that_fails_is_no_turn_and_the_session_goes_on(
    ann: Asker, agent_id: str, model: OpenAIServer
) -> None:
    script(model, fails(400), says("better"))
    session = await ann.session(agent_id)
    with pytest.raises(Exception, match="model server"):
        await ann.say(agent_id, session, "hi")
    turn = (await ann.say(agent_id, session, "again"))[-1]["turn"]
    assert await ann.turns(agent_id, session) == [turn]


async def test_a_message_over_a2a_is_a_turn_of_the_agent_of_the_session(
    ann: Asker, agent_id: str, model: OpenAIServer
) -> None:
    script(model, says("over A2A"))
    session = await ann.session(agent_id)
    said = Message("m", Role.USER, [Part(text="a"), Part(text="b")], context_id=session)
    task = await ann.engine.service.send(ann.caller, SendRequest(said))
    assert isinstance(task, Task)
    turns = await ann.turns(agent_id, session)
    assert [turn["turn_id"] for turn in turns] == [task.id]
    items = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert turns[0]["input_messages"] == [{"role": "user", "content": items, "context": None}]
    assert model.requests[0]["messages"][0]["content"].startswith("Be brief.")


async def test_contexts_of_a2a_are_sessions_of_the_agent_of_the_settings(
    ann: Asker, model: OpenAIServer
) -> None:
    script(model, says("safe"), says("hello"), says("safe"), says("again"))
    eve, house = ann.by("eve"), ann.api.settings_agent_id
    said = Message("m", Role.USER, [Part(text="hi")], context_id="my context")
    await eve.engine.service.send(eve.caller, SendRequest(said))
    listed = await eve.api.list_sessions(eve.caller, house, 0, 10)
    [session] = listed["data"]
    assert (session["session_name"], session["turns"]) == ("", [])
    assert len(session["session_id"]) == 48
    told = await eve.say(house, session["session_id"], "more")
    assert kinds(told)[:2] == ["step_start shield_call", "step_complete shield_call"]
    assert told[0]["metadata"] == {"touchpoint": "user-input"}
    turns = await eve.turns(house, session["session_id"])
    assert [turn["output_message"]["content"] for turn in turns] == ["hello", "again"]
    page = await eve.engine.service.list(eve.caller, ListRequest(context_id="my context"))
    assert [task.id for task in page.tasks] == [turn["turn_id"] for turn in reversed(turns)]


async def test_what_a_shield_refuses_is_a_turn_with_the_refusal(
    ann: Asker, model: OpenAIServer
) -> None:
    script(model, says("unsafe\nS9"))
    house = ann.api.settings_agent_id
    session = await ann.session(house, "shielded")
    told = await ann.say(house, session, "a bomb")
    turn = told[-1]["turn"]
    assert told[-1]["event_type"] == "turn_complete"
    [step] = turn["steps"]
    assert step["violation"]["metadata"] == {"violation_type": "S9"}
    assert turn["output_message"]["content"] == step["violation"]["user_message"]
    assert await ann.turns(house, session) == [turn]
    task = await ann.engine.service.get(ann.caller, GetRequest(turn["turn_id"]))
    assert task.status.state is TaskState.REJECTED


async def test_what_is_anothers_is_not_there(
    ann: Asker, agent_id: str, model: OpenAIServer
) -> None:
    script(model, says("mine"))
    session = await ann.session(agent_id)
    turn_id = (await ann.say(agent_id, session, "hi"))[-1]["turn"]["turn_id"]
    other_agent = await ann.agent()
    for who, agent in (
        (ann.by("eve"), agent_id),
        (ann, other_agent),
        (ann.by("ann", "t"), agent_id),
    ):
        api, caller = who.api, who.caller
        with pytest.raises(ResourceNotFound):
            await api.get_session(caller, agent, session, None)
        with pytest.raises(ResourceNotFound):
            await who.say(agent, session, "hi")
        with pytest.raises(ResourceNotFound):
            await who.resume(agent, session, turn_id, [])
        with pytest.raises(ResourceNotFound):
            await api.get_turn(caller, agent, session, turn_id)
        await api.delete_session(caller, agent, session)
    other_session = await ann.session(agent_id)
    with pytest.raises(ResourceNotFound):
        await ann.api.get_turn(ann.caller, agent_id, other_session, turn_id)
    assert len(await ann.turns(agent_id, session)) == 1
    await ann.api.delete(ann.caller, other_agent)


async def test_sessions_are_listed_in_pages_and_deleted_for_good(ann: Asker, agent_id: str) -> None:
    bob = ann.by("bea")
    mine = await bob.agent()
    made = [await bob.session(mine, f"s{number}") for number in range(3)]
    listed = await bob.api.list_sessions(bob.caller, mine, 1, 1)
    assert (len(listed["data"]), listed["has_more"]) == (1, True)
    assert listed["url"] == "/v1alpha/agents/{agent_id}/sessions"
    for _ in range(2):
        await bob.api.delete_session(bob.caller, mine, made[1])
    rest = await bob.api.list_sessions(bob.caller, mine, 0, 10)
    assert {each["session_id"]: each["session_name"] for each in rest["data"]} == {
        made[0]: "s0",
        made[2]: "s2",
    }
    with pytest.raises(ResourceNotFound):
        await bob.api.list_sessions(bob.caller, agent_id, 0, 10)


RECORDINGS = Path(__file__).parents[3] / "shared/recordings/llama_stack/v0.3.5_agents"


def shapes(payloads: list[Any]) -> list[Any]:
    """Return the fields that payloads and what is in them have; pieces of a call are left out."""
    return [
        _fields(payload)
        for payload in payloads
        if not isinstance(payload.get("delta", {}).get("tool_call"), str)
    ]


def _fields(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _fields(each) for key, each in sorted(value.items())}
    if isinstance(value, list):
        return [_fields(each) for each in value]
    return value if value in ENUMS else type(value).__name__


ENUMS = {
    *("step_start", "step_progress", "step_complete", "turn_complete", "turn_awaiting_input"),
    *("inference", "tool_execution", "shield_call", "text", "tool_call", "succeeded"),
    *("end_of_turn", "end_of_message", "assistant", "user"),
}


@pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings are not here")
async def test_turns_are_told_in_the_shapes_of_llama_stack(
    ann: Asker, agent_id: str, model: OpenAIServer
) -> None:
    wanted = calls(("c-1", "get_weather", '{"city": "Oslo"}'))
    script(model, says("a", "b", "c"), wanted, says("a", "b", "c", "d"))
    session = await ann.session(agent_id)
    assert shapes(await ann.say(agent_id, session, "hi")) == recorded("c01_turn_stream")
    waits = await ann.say(agent_id, session, "weather")
    assert shapes(waits) == recorded("g03_turn_awaiting_input")
    given = [{"call_id": "c-1", "tool_name": "get_weather", "content": "12C"}]
    told = await ann.resume(agent_id, session, waits[-1]["turn"]["turn_id"], given)
    assert shapes(told) == recorded("g07_resume_stream")


def recorded(name: str) -> list[Any]:
    """Return the shapes of a recorded stream."""
    lines = (RECORDINGS / f"{name}.sse").read_text().splitlines()
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    return shapes([chunk["event"]["payload"] for chunk in chunks])
