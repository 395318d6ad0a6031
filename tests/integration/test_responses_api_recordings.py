"""What real servers have sent means the same on all of them.

The recordings lie beside the repository; without them there is nothing to test here. They are sent
again by the fake, over a real socket, to the real client.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.errors import ModelNotFound, StackError, TurnFailed
from agent.settings import Settings
from agent.stacks.client import ConversationLost
from agent.stacks.responses_api import ResponsesApiStack
from agent.stacks.turn import (
    Failed,
    InputRequired,
    Rejected,
    StepEnded,
    StepStarted,
    TextDelta,
    TextPart,
    TurnCompleted,
    TurnRequest,
    TurnStarted,
    Usage,
)
from tests.fakes.responses import FakeResponses, Script

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from agent.stacks.turn import TurnEvent

    type RunServer = Callable[[Any], AbstractAsyncContextManager[str]]

pytestmark = pytest.mark.anyio

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings" / "llama_stack"
STREAMS = sorted(RECORDINGS.glob("*_responses/*.sse"))

LISTED = ("mock", ["add_numbers", "lookup_city", "fail_tool"])
ADDED = ("add_numbers", {"a": 2, "b": 40}, {"result": "42"})
LOOPED = ("add_numbers", {"a": 1, "b": 1}, {"result": "2"})
FAILED = ("fail_tool", {"reason": "because"}, {"result": "Error (code 1): None", "failed": True})


def said(text: str) -> TurnCompleted:
    """Return the end of a turn with this answer."""
    return TurnCompleted("end_of_turn", text)


# What a stream ends with, by the first part of its name: an event, the type of one that holds ids
# of the server, or of an error; then its steps, without their ids: what was asked, what came of it.
ENDS: dict[str, tuple[Any, list[Any]]] = {
    "b02": (said("Echo: hello there"), []),
    "b03": (said("Echo: first message"), []),
    "b04": (said("Echo: second message"), []),
    "b09": (said("Echo: third"), []),
    "b11": (said("Echo: part1  part2"), []),
    "c01": (InputRequired, []),
    "c02": (said("Tool said: 12C rain"), []),
    "c04": (InputRequired, []),
    "d01": (said("Tool said: 42"), [LISTED, ADDED]),
    "d02": (said("Tool said: 42"), [LISTED, ADDED]),
    "d03": (
        said("Tool said: Error executing tool fail_tool: tool failed: because"),
        [LISTED, FAILED],
    ),
    "d04": (TurnFailed, []),
    "d05": (InputRequired, [LISTED]),
    "d06": (said("Tool said: 42"), [LISTED, ADDED]),
    "d07": (said(""), [LISTED]),
    "e01": (ModelNotFound, []),
    "e03": (TurnFailed, []),
    "e04": (TurnFailed, []),
    "e06": (TurnFailed, []),
    "e07": (TurnFailed, []),
    "e08": (ConversationLost, []),
    "e09": (ConversationLost, []),
    "e12": (TurnCompleted("out_of_tokens", "cut off he"), []),
    "e13": (Rejected, []),
    "e14": (
        Failed("The agent stopped at its limit of steps without an answer."),
        [LISTED, LOOPED, LOOPED],
    ),
}

ASKED: dict[str, list[dict[str, Any]]] = {
    "c01": [{"tool_name": "get_weather", "arguments": {"city": "Oslo"}}],
    "c04": [
        {"tool_name": "get_weather", "arguments": {"city": "Oslo"}},
        {"tool_name": "get_weather", "arguments": {"city": "Rome"}},
    ],
    "d05": [
        {"tool_name": "add_numbers", "arguments": {"a": 2, "b": 40}, "server_label": "mock"},
    ],
}


async def replay(recording: Path, run_server: RunServer) -> tuple[list[TurnEvent], Any]:
    """Return the events of the turn, and its last event or the error that it ended with."""
    fake = FakeResponses()
    fake.scripts = [Script(raw=await anyio.Path(recording).read_bytes())]
    events: list[TurnEvent] = []
    async with run_server(fake.app) as url:
        stack = ResponsesApiStack(Settings.model_validate({"llama_stack": {"url": url}}))
        await stack.open()
        request = TurnRequest(
            conversation_id="conv_" + "0" * 48,
            task_id="t",
            context_id="c",
            message_id="m",
            owner="o",
            tenant="",
            parts=(TextPart("x"),),
        )
        try:
            with anyio.fail_after(10):
                async for event in stack.turn(request):
                    events.append(event)  # noqa: PERF401  # some come before an error
        except StackError as exc:
            return events, exc
        finally:
            await stack.close()
    return events, events[-1]


def shown(begun: StepStarted, ended: StepEnded) -> Any:
    """Return what a step shows of itself."""
    if begun.kind == "tool_listing":
        tools = ended.detail["tools"]
        assert all(tool["description"] and tool["input_schema"]["properties"] for tool in tools)
        return begun.name, [tool["name"] for tool in tools]
    assert begun.detail["type"] == "mcp_call"
    return begun.name, begun.detail["arguments"], without_id(ended.detail)


def without_id(detail: dict[str, Any]) -> dict[str, Any]:
    """Return what does not change with every call."""
    return {key: value for key, value in detail.items() if key != "call_id"}


@pytest.mark.skipif(not STREAMS, reason="there are no recordings here")
@pytest.mark.parametrize("recording", STREAMS, ids=lambda path: f"{path.parent.name}-{path.stem}")
async def test_a_recorded_stream_means_what_it_meant(
    recording: Path, run_server: RunServer
) -> None:
    """From the first event to the last."""
    name = recording.stem.partition("_")[0]
    expected, steps = ENDS[name]

    events, end = await replay(recording, run_server)

    assert (type(end) is expected) if isinstance(expected, type) else (end == expected)
    ended = [each for each in events if isinstance(each, StepEnded)]
    started = [each for each in events if isinstance(each, StepStarted)]
    assert [shown(*each) for each in zip(started, ended, strict=True)] == steps
    assert [(each.kind, each.name) for each in started] == [(e.kind, e.name) for e in ended]
    assert all(begun.detail["call_id"] for begun in started)
    assert all(over.detail["call_id"] for over in ended)
    assert isinstance(events[0], TurnStarted) if events else type(end) is ConversationLost
    if isinstance(end, TurnCompleted):
        assert "".join(each.text for each in events if isinstance(each, TextDelta)) == end.text
        assert any(isinstance(each, Usage) and each.output_tokens for each in events)
    if isinstance(end, InputRequired):
        [questions] = [value for key, value in end.data.items() if key != "type"]
        assert [without_id(each) for each in questions] == ASKED[name]
        assert all(each["call_id"] for each in questions)
    if isinstance(end, Rejected):
        assert end.text.startswith("I can't answer that.")
    if isinstance(end, StackError):
        assert "mock" not in end.message
