"""The agent loop, with a model that says what the test tells it."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from agent.settings.lcs import McpServer
from agent.stacks import (
    AuthRequired,
    Citation,
    ClientTool,
    Failed,
    InputRequired,
    StepEnded,
    StepStarted,
    TextDelta,
    TurnCompleted,
    Usage,
)
from agent.stacks.embedded import steps
from agent.stacks.embedded.loop import AgentLoop
from agent.stacks.embedded.messages import ModelMessage, ToolCall, ToolMessage, UserMessage
from agent.stacks.embedded.model import Prompt, Stop
from agent.stacks.embedded.tools import ToolResult
from agent.stacks.mcp_access import CredentialsNeeded
from tests.fakes.embedded import plain, steps_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from agent.stacks.embedded.model import Piece

pytestmark = pytest.mark.anyio

SOURCE = Citation("Guide", uri="guide.md")


class Script:
    """A model: every list of pieces is what it says when it is asked next."""

    def __init__(self, *said: list[Piece]) -> None:
        self._said = list(said)
        self.prompts: list[Prompt] = []
        self.closed = 0

    async def infer(self, prompt: Prompt) -> AsyncGenerator[Piece]:
        """Say the next list; the last one again and again."""
        self.prompts.append(prompt)
        try:
            for piece in self._said.pop(0) if len(self._said) > 1 else self._said[0]:
                yield piece
        finally:
            self.closed += 1


class Tools:
    """``search`` runs here, ``weather`` at the caller's."""

    specs = (ClientTool("search", "", {}), ClientTool("weather", "", {}))

    def __init__(self) -> None:
        self.calls: list[ToolCall] = []

    def is_client(self, call: ToolCall) -> bool:
        """Tell whether the caller runs it."""
        return call.tool_name == "weather"

    def wants_approval(self, call: ToolCall) -> bool:
        """Ask before anything is deleted."""
        return call.tool_name == "delete"

    def server_of(self, _call: ToolCall) -> str:
        """Name the server of all that wants approval."""
        return "disk"

    def about(self, call: ToolCall) -> dict[str, str]:
        """Tell what kind of tool it is."""
        return {"type": "file_search_call" if call.tool_name == "search" else "mcp_call"}

    async def run(self, call: ToolCall) -> ToolResult:
        """Find something; nothing to ``lose``, and there are no credentials to ``pay``."""
        if call.tool_name == "lose":
            return ToolResult("It is not here.", failed=True)
        if call.tool_name == "pay":
            raise CredentialsNeeded(McpServer(name="bank", url="https://u:p@bank.org/mcp?key=s"))
        self.calls.append(call)
        return ToolResult("found it", (SOURCE,))


def says(text: str, reason: str = "end_of_turn") -> list[Piece]:
    return [*(TextDelta(word) for word in text.split(" ")), Usage(3, 2), Stop(reason)]


def calls(*wanted: tuple[str, str, str]) -> list[Piece]:
    return [*(ToolCall(*call) for call in wanted), Stop("end_of_message")]


SEARCH = calls(("c1", "search", '{"query": "x"}'))
WEATHER = calls(("c2", "weather", '{"city": "Oslo"}'))


def loop_of(
    model: Any,
    *,
    before: list[Any] | None = None,
    most: int = 10,
    approved: tuple[str, ...] = (),
    choice: str = "auto",
) -> AgentLoop:
    said = (UserMessage("Hi"),)
    prompt = Prompt(model="m", messages=said, tools=Tools.specs, tool_choice=choice)
    tools: Any = Tools()
    return AgentLoop(
        model,
        prompt,
        tools,
        turn_id="t1",
        steps=before or [],
        approved=approved,
        max_infer_iters=most,
    )


async def run(loop: AgentLoop) -> list[Any]:
    return [event async for event in loop.run()]


async def test_an_answer_is_streamed_within_one_inference() -> None:
    """Text and usage pass as they come; the end holds the whole text."""
    loop = loop_of(Script(says("Hello you")))
    assert plain(await run(loop)) == [
        StepStarted("inference"),
        TextDelta("Hello"),
        TextDelta("you"),
        Usage(3, 2),
        StepEnded("inference", detail={"stop_reason": "end_of_turn"}),
        TurnCompleted("end_of_turn", "Helloyou"),
    ]
    (step,) = loop.steps
    assert step["turn_id"] == "t1"
    assert step["model_response"] == {
        "role": "assistant",
        "content": "Helloyou",
        "stop_reason": "end_of_turn",
        "tool_calls": [],
    }


async def test_a_tool_is_run_and_the_model_is_told() -> None:
    """Arguments and result are shown, citations pass, and the model is asked again."""
    model = Script(SEARCH, says("Done"))
    loop = loop_of(model)
    events = plain(await run(loop))
    assert events[2:5] == [
        StepStarted(
            "tool_execution",
            "search",
            {"call_id": "c1", "arguments": {"query": "x"}, "type": "file_search_call"},
        ),
        StepEnded("tool_execution", "search", {"call_id": "c1", "result": "found it"}),
        SOURCE,
    ]
    assert events[-1] == TurnCompleted("end_of_turn", "Done")
    assert model.prompts[1].messages == (
        UserMessage("Hi"),
        ModelMessage("", (ToolCall("c1", "search", '{"query": "x"}'),), "end_of_message"),
        ToolMessage("c1", "search", "found it"),
    )
    kinds = [step["step_type"] for step in loop.steps]
    assert kinds == ["inference", "tool_execution", "inference"]


async def test_a_tool_of_the_caller_ends_the_run_until_it_is_answered() -> None:
    """Tools of this side are run first; what is waited for is named with its arguments."""
    both = calls(("c1", "search", "{}"), ("c2", "weather", '{"city": "Oslo"}'))
    model = Script(both, says("Rain"))
    loop = loop_of(model)
    events = await run(loop)
    assert [e.name for e in events if isinstance(e, StepEnded)] == ["", "search"]
    assert events[-1] == InputRequired(
        "The agent waits for the result of: weather.",
        {
            "type": "tool_calls",
            "tool_calls": [
                {"call_id": "c2", "tool_name": "weather", "arguments": {"city": "Oslo"}}
            ],
        },
    )
    waiting = steps.unanswered(loop.steps)
    given = [ToolMessage("c2", "weather", "rainy")]
    resumed = [*loop.steps, steps.tool_execution(steps.begin("t1"), waiting, given)]
    events = await run(loop_of(model, before=resumed))
    assert events[-1] == TurnCompleted("end_of_turn", "Rain")
    assert [type(message) for message in model.prompts[1].messages] == [
        UserMessage,
        ModelMessage,
        ToolMessage,
        ToolMessage,
    ]


async def test_each_step_is_told_as_it_is_stored_with_the_id_that_it_began_with() -> None:
    """All calls of a round are one step."""
    model = Script(calls(("c1", "search", "{}"), ("c2", "lose", "{}")), says("Done"))
    loop = loop_of(model)
    events = await run(loop)
    recorded = steps_of(events)
    assert recorded == loop.steps
    asked, ran, again = (step["step_id"] for step in recorded)
    begun = [event.step_id for event in events if isinstance(event, StepStarted)]
    assert begun == [asked, ran, ran, again]
    assert recorded[1]["tool_responses"][0] == {
        "call_id": "c1",
        "tool_name": "search",
        "content": "found it",
        "metadata": None,
    }


async def test_a_model_has_to_call_a_tool_only_the_first_time() -> None:
    """Else it would do nothing else; what it may not do it may never do."""
    for choice, then in (("required", "auto"), ("search", "auto"), ("none", "none")):
        model = Script(SEARCH, says("Done"))
        await run(loop_of(model, choice=choice))
        assert [prompt.tool_choice for prompt in model.prompts] == [choice, then]


async def test_texts_around_a_tool_call_are_two_paragraphs() -> None:
    """The deltas make up the text that the end holds."""
    model = Script([TextDelta("Let me see."), *SEARCH], says("It-is-8080"))
    events = await run(loop_of(model))
    deltas = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert deltas == "Let me see.\n\nIt-is-8080"
    assert events[-1] == TurnCompleted("end_of_turn", deltas)


async def test_a_repeated_call_id_is_another_call() -> None:
    """Models that count from 0 in every answer have all their calls run."""
    model = Script(SEARCH, SEARCH, says("Done"))
    loop = loop_of(model)
    events = await run(loop)
    ids = [e.detail["call_id"] for e in events if isinstance(e, StepEnded) and e.name]
    assert len(ids) == len(set(ids)) == 2
    assert events[-1] == TurnCompleted("end_of_turn", "Done")


async def test_the_last_time_the_model_is_asked_it_has_to_answer() -> None:
    """Tools are still named, for what was called before, but may not be called."""
    model = Script(SEARCH, SEARCH, says("Enough"))
    events = await run(loop_of(model, most=3))
    assert [prompt.may_call for prompt in model.prompts] == [True, True, False]
    assert events[-1] == TurnCompleted("end_of_turn", "Enough")


async def test_a_model_that_calls_tools_for_ever_is_stopped() -> None:
    """The turn fails after as many inferences as the agent may have."""
    model = Script(SEARCH)
    events = await run(loop_of(model, most=2))
    assert events[-1] == Failed("The agent stopped after 2 steps without an answer.")
    assert len(model.prompts) == 2


async def test_the_only_inference_of_a_turn_may_call_tools() -> None:
    """With one inference a client tool can still be asked for."""
    model = Script(WEATHER)
    assert isinstance((await run(loop_of(model, most=1)))[-1], InputRequired)
    assert model.prompts[0].may_call


async def test_an_answer_that_was_cut_off_says_so() -> None:
    """The stop reason of the model is that of the turn."""
    events = await run(loop_of(Script(says("Once upon", "out_of_tokens"))))
    assert events[-1] == TurnCompleted("out_of_tokens", "Onceupon")


async def test_long_arguments_are_shown_in_part() -> None:
    """What the caller sees is bounded; the tool gets all of it."""
    arguments = f'{{"query": "{"x" * 9000}"}}'
    model = Script(calls(("c1", "search", arguments)), says("Done"))
    events = await run(loop_of(model))
    (shown,) = [e.detail["arguments"] for e in events if isinstance(e, StepStarted) and e.name]
    assert len(shown) == 4097
    said = model.prompts[1].messages[1]
    assert isinstance(said, ModelMessage)
    assert said.tool_calls[0].arguments == arguments


async def test_a_tool_that_failed_is_said_to_have_failed() -> None:
    """To the caller; the model reads what went wrong."""
    model = Script(calls(("c1", "lose", "{}")), says("Done"))
    events = await run(loop_of(model))
    (ended,) = [e for e in events if isinstance(e, StepEnded) and e.name]
    assert ended.detail == {"call_id": "c1", "result": "It is not here.", "failed": True}
    assert model.prompts[1].messages[-1] == ToolMessage("c1", "lose", "It is not here.")


async def test_closing_the_loop_closes_the_model() -> None:
    """Nothing goes on once nobody listens."""
    model = Script(says("one two three"))
    async with aclosing(loop_of(model).run()) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    assert model.closed == 1


def test_calls_that_were_never_answered_are_no_part_of_the_history() -> None:
    """No model takes a conversation with a tool call that has no result."""
    said = ModelMessage("I ask.", (ToolCall("c2", "weather", "{}"),), "end_of_message")
    stored = [steps.inference(steps.begin("t1"), said)]
    assert list(steps.messages_of(stored)) == [ModelMessage("I ask.", (), "end_of_message")]
    silent = [steps.inference(steps.begin("t1"), ModelMessage("", said.tool_calls))]
    assert list(steps.messages_of(silent)) == []


DELETE = ("c3", "delete", '{"path": "/"}')


async def test_a_call_that_wants_approval_waits_for_it() -> None:
    """Together with the tools of the caller, and after those that need nobody."""
    all_three = calls(DELETE, ("c1", "search", "{}"), ("c2", "weather", "{}"))
    loop = loop_of(Script(all_three))
    events = await run(loop)
    assert [e.name for e in events if isinstance(e, StepEnded)] == ["", "search"]
    assert events[-1] == InputRequired(
        "The agent waits for the result of: weather. The agent waits for approval to call: delete.",
        {
            "type": "tool_calls",
            "tool_calls": [{"call_id": "c2", "tool_name": "weather", "arguments": {}}],
            "approvals": [
                {
                    "call_id": "c3",
                    "tool_name": "delete",
                    "arguments": {"path": "/"},
                    "server_label": "disk",
                }
            ],
        },
    )


async def test_a_call_that_was_approved_is_run() -> None:
    """Only that one: another of the same tool is asked for again."""
    first = loop_of(Script([TextDelta("May I?"), *calls(DELETE)]))
    assert isinstance((await run(first))[-1], InputRequired)
    model = Script(calls(("c4", "delete", "{}")))
    events = await run(loop_of(model, before=first.steps, approved=("c3",)))
    assert [e.detail["call_id"] for e in events if isinstance(e, StepEnded) and e.name] == ["c3"]
    assert events[-1].data["approvals"][0]["call_id"] == "c4"


async def test_what_was_said_before_a_question_is_no_part_of_the_answer_after_it() -> None:
    """The caller has heard it already."""
    first = loop_of(Script([TextDelta("May I?"), *calls(DELETE)]))
    await run(first)
    events = await run(loop_of(Script(says("Gone")), before=first.steps, approved=("c3",)))
    assert events[-1] == TurnCompleted("end_of_turn", "Gone")


async def test_a_tool_without_credentials_interrupts_the_turn() -> None:
    """Others are run before; the server is named, and nothing that it was shown."""
    model = Script(calls(("c1", "pay", "{}"), ("c2", "search", "{}")), says("Done"))
    loop = loop_of(model)
    events = await run(loop)
    assert [e.name for e in events if isinstance(e, StepEnded)] == ["", "search"]
    assert isinstance(events[-1], AuthRequired)
    assert "bank" in events[-1].text
    assert events[-1].data == {"type": "auth", "server": "bank", "url": "https://bank.org"}
    assert [call.call_id for call in steps.unanswered(loop.steps)] == ["c1"]
    assert len(model.prompts) == 1
