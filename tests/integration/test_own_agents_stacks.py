"""The agents API on stacks that keep no steps: they are made of what is told, and again of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import StackUnavailable, TurnFailed, Unauthenticated, UnsupportedOperation
from agent.model import Message, Part, Role, SendRequest, Task
from agent.stacks import (
    ArtifactPart,
    AuthRequired,
    DirectMessage,
    Failed,
    FilePart,
    InputRequired,
    Rejected,
    StepEnded,
    StepStarted,
    TextDelta,
    TextPart,
    ToolGroup,
    TurnCompleted,
    TurnStarted,
    Usage,
)
from agent.stacks.response_format import RESPONSE_FORMAT
from tests.fakes.own_agents import Asker, asking, asking_scripted, kinds
from tests.fakes.scripted_stack import ANSWER, DONE, Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.scripted_stack import Turn

pytestmark = pytest.mark.anyio

FOUND = StepEnded("tool_execution", "search", {"call_id": "s-1", "result": "42"})
SEARCHES = StepStarted(
    "tool_execution", "search", {"call_id": "s-1", "arguments": {"q": 1}, "type": "mcp_call"}
)
ASKS = InputRequired(
    "Weather?",
    {"tool_calls": [{"call_id": "c-1", "tool_name": "weather", "arguments": {"city": "Oslo"}}]},
)
RESPONSES = [
    TurnStarted("resp_1", "m/tiny"),
    TextDelta("Let me see. "),
    SEARCHES,
    FOUND,
    TextDelta("It is "),
    TextDelta("42."),
    Usage(1, 2),
    TurnCompleted("end_of_turn", "Let me see. It is 42."),
]


@pytest.fixture(scope="module")
async def ann() -> AsyncIterator[Asker]:
    """Yield Ann, whose stack does what its ``script`` says."""
    async with asking_scripted(Script(ANSWER)) as asker:
        yield asker


@pytest.fixture(scope="module")
async def agent_id(ann: Asker) -> str:
    """Return an agent of Ann's."""
    return await ann.agent(toolgroups=["mcp::a"], tool_choice="required")


def script(ann: Asker, *turns: Turn) -> Script:
    """Have the stack do this."""
    stack: Any = ann.engine.stack
    stack.script.turns = turns
    stack.script.requests.clear()
    return stack.script  # type: ignore[no-any-return] # of the fake


def timeless(turns: list[Any]) -> list[Any]:
    """Return turns without the times of their steps: those made again are the task's."""
    for turn in turns:
        for step in turn["steps"]:
            del step["started_at"], step["completed_at"]
    return turns


@pytest.mark.parametrize(
    ("events", "steps", "text"),
    [
        (RESPONSES, ["inference", "tool_execution", "inference"], "It is 42."),
        ([TextDelta("Hallo"), TurnCompleted("end_of_turn", "Hello")], ["inference"], "Hello"),
        ([TextDelta("cut"), TurnCompleted("out_of_tokens")], ["inference"], "cut"),
        ([TurnCompleted("end_of_turn", "")], ["inference"], ""),
        ([DirectMessage((TextPart("at once"),))], ["inference"], "at once"),
        ([Rejected("No.")], ["shield_call"], "No."),
        ([TextDelta("so"), Rejected("No.")], ["inference", "shield_call"], "No."),
    ],
)
async def test_a_turn_that_is_read_again_is_the_one_that_was_told(
    ann: Asker, agent_id: str, events: Any, steps: list[str], text: str
) -> None:
    script(ann, events)
    session = await ann.session(agent_id)
    turn = (await ann.say(agent_id, session, "hi"))[-1]["turn"]
    assert [step["step_type"] for step in turn["steps"]] == steps
    assert turn["output_message"]["content"] == text
    assert timeless(await ann.turns(agent_id, session)) == timeless([turn])


async def test_a_turn_that_is_resumed_has_the_steps_of_all_its_parts(
    ann: Asker, agent_id: str
) -> None:
    heard = script(ann, [SEARCHES, FOUND, ASKS], [ASKS], [TextDelta("cold"), DONE])
    session = await ann.session(agent_id)
    turn_id = (await ann.say(agent_id, session, "hi"))[-1]["turn"]["turn_id"]
    given = [{"call_id": "c-1", "tool_name": "weather", "content": "12C"}]
    again = await ann.resume(agent_id, session, turn_id, given)
    assert kinds(again) == ["step_complete tool_execution", "turn_awaiting_input"]
    turn = (await ann.resume(agent_id, session, turn_id, given))[-1]["turn"]
    assert [step["step_type"] for step in turn["steps"]] == [
        "inference",
        "tool_execution",
        "inference",
        "tool_execution",
        "tool_execution",
        "inference",
    ]
    assert turn["turn_id"] == turn_id
    assert timeless(await ann.turns(agent_id, session)) == timeless([turn])
    resume = heard.requests[1].resume
    assert resume is not None
    assert [(a.call_id, a.content) for a in resume.answers] == [("c-1", "12C")]


async def test_a_call_is_approved_with_a_response(ann: Asker, agent_id: str) -> None:
    asks = {"approvals": [{"call_id": "s-1", "tool_name": "search", "arguments": {"q": 1}}]}
    heard = script(ann, [InputRequired("May I?", asks)], [SEARCHES, FOUND, TextDelta("42"), DONE])
    session = await ann.session(agent_id)
    waits = (await ann.say(agent_id, session, "hi"))[-1]["turn"]
    assert [c["call_id"] for c in waits["output_message"]["tool_calls"]] == ["s-1"]
    given = [{"call_id": "s-1", "content": "approve"}]
    told = await ann.resume(agent_id, session, waits["turn_id"], given)
    assert kinds(told)[0] == "step_start tool_execution"
    resume = heard.requests[1].resume
    assert resume is not None
    assert resume.answers[0].approve
    assert timeless(await ann.turns(agent_id, session)) == timeless([told[-1]["turn"]])


async def test_a_turn_that_waits_is_resumed_over_a2a_as_well(ann: Asker, agent_id: str) -> None:
    script(ann, [ASKS], ANSWER)
    session = await ann.session(agent_id)
    waits = (await ann.say(agent_id, session, "hi"))[-1]["turn"]
    said = Message("m", Role.USER, [Part(text="12C")], context_id=session)
    task = await ann.engine.service.send(ann.caller, SendRequest(said))
    assert isinstance(task, Task)
    [turn] = await ann.turns(agent_id, session)
    assert (turn["turn_id"], task.id) == (waits["turn_id"], waits["turn_id"])
    assert turn["steps"][1]["tool_responses"][0]["content"] == "12C"
    assert turn["output_message"]["content"] == "yes"


async def test_the_agent_and_what_the_turn_wants_otherwise_reach_the_stack(
    ann: Asker, agent_id: str
) -> None:
    heard = script(ann, ANSWER)
    session = await ann.session(agent_id)
    groups = ("mcp::b", {"name": "builtin::rag", "args": {"k": 1}})
    await ann.say(agent_id, session, "hi", toolgroups=groups, tool_config={"tool_choice": "none"})
    [request] = heard.requests
    assert request.agent is not None
    assert request.agent.agent_id == agent_id
    assert request.agent.tool_choice == "required"
    assert request.model == "tiny"
    assert request.options.toolgroups == (ToolGroup("mcp::b"), ToolGroup("builtin::rag", {"k": 1}))
    assert request.options.tool_choice == "none"


async def test_many_turns_are_read_again_each_with_its_own_steps(ann: Asker, agent_id: str) -> None:
    script(ann, RESPONSES, [TextDelta("two"), DONE], [Rejected("No.")])
    session = await ann.session(agent_id)
    said = [(await ann.say(agent_id, session, str(n)))[-1]["turn"] for n in range(3)]
    assert timeless(await ann.turns(agent_id, session)) == timeless(said)


async def test_the_agent_of_the_settings_can_be_made_again_whatever_answers(ann: Asker) -> None:
    async with asking() as plain:
        for asker, model in ((plain, "embedded/extractive"), (ann, "llamastack-a2a")):
            house = await asker.api.get(asker.caller, asker.api.settings_agent_id)
            assert house["agent_config"]["model"] == model
            made = await asker.api.create(asker.caller, house["agent_config"])
            shown = await asker.api.get(asker.caller, made["agent_id"])
            assert shown["agent_config"] == house["agent_config"]


async def test_the_rules_of_the_settings_hold_for_the_agents_of_callers() -> None:
    heard = Script(ANSWER)
    rules = {"disable_shield_ids_override": True, "disable_query_system_prompt": True}
    agent = {"input_shields": ["guard"], "instructions": "Be kind."}
    async with asking_scripted(heard, customization=rules, agent=agent) as asker:
        mine = await asker.agent()
        session = await asker.session(mine)
        said = Message("m", Role.USER, [Part(text="hi")], context_id=session)
        await asker.engine.service.send(asker.caller, SendRequest(said))
        await asker.say(mine, session, "hi")
    for request in heard.requests:
        assert request.agent is not None
        assert request.agent.input_shields == ("guard",)
        assert request.agent.instructions == "Be kind.\n\nBe brief."
    assert len(heard.requests) == 2


@pytest.mark.parametrize(
    ("events", "error", "said"),
    [
        ([TextDelta("so"), Failed("Broken.")], TurnFailed, "Broken."),
        ([StackUnavailable()], StackUnavailable, "cannot be reached"),
        ([UnsupportedOperation("Not so.")], UnsupportedOperation, "Not so."),
        ([AuthRequired("The tools of mcp need a token.")], Unauthenticated, "need a token"),
    ],
)
async def test_a_turn_that_fails_tells_why_and_is_not_kept(
    ann: Asker, agent_id: str, events: Any, error: type[Exception], said: str
) -> None:
    script(ann, events)
    session = await ann.session(agent_id)
    with pytest.raises(error, match=said):
        await ann.say(agent_id, session, "hi")
    assert await ann.turns(agent_id, session) == []


async def test_what_is_made_beside_the_answer_is_attached(ann: Asker, agent_id: str) -> None:
    notes = ArtifactPart((TextPart("a"), FilePart("b.png", "image/png", b"\x89")), "notes")
    script(ann, [TextDelta("see"), notes, TextDelta(" also", "aside"), DONE])
    session = await ann.session(agent_id)
    turn = (await ann.say(agent_id, session, "hi"))[-1]["turn"]
    assert turn["output_attachments"] == [
        {"content": "a", "mime_type": "text/plain"},
        {"content": {"uri": "data:image/png;base64,iQ=="}, "mime_type": "image/png"},
        {"content": " also", "mime_type": "text/plain"},
    ]
    assert turn["output_message"]["content"] == "see"
    assert timeless(await ann.turns(agent_id, session)) == timeless([turn])


async def test_an_answer_in_a_form_that_a2a_asks_for_is_the_answer_of_the_turn(
    ann: Asker, agent_id: str
) -> None:
    script(ann, [TextDelta('{"a"'), TextDelta(":1}"), DONE])
    session = await ann.session(agent_id)
    form = {"type": "json_schema", "json_schema": {"type": "object"}}
    said = Message("m", Role.USER, [Part(text="hi")], session, metadata={RESPONSE_FORMAT: form})
    await ann.engine.service.send(ann.caller, SendRequest(said))
    [turn] = await ann.turns(agent_id, session)
    assert turn["output_message"]["content"] == '{"a":1}'


async def test_a_session_with_very_much_in_it_shows_the_latest_turns() -> None:
    many = Script([TextDelta("x" * 3000), DONE])
    async with asking_scripted(many, limits={"answer_bytes": 10_000}) as ann:
        agent = await ann.agent()
        session = await ann.session(agent)
        made = [(await ann.say(agent, session, "hi"))[-1]["turn"]["turn_id"] for _ in range(4)]
        shown = [turn["turn_id"] for turn in await ann.turns(agent, session)]
        assert 0 < len(shown) < 4
        assert shown == made[-len(shown) :]
