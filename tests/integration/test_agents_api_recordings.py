"""Streams recorded from a real Llama Stack 0.3.5, replayed by a server on a real socket.

The recordings lie outside the repository; without them the tests are skipped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from agent.errors import ModelNotFound, StackError, TurnFailed
from agent.settings import Settings
from agent.stacks import (
    Citation,
    Failed,
    InputRequired,
    Rejected,
    StepEnded,
    StepStarted,
    TextDelta,
    TextPart,
    TurnCompleted,
    TurnEvent,
    TurnRequest,
    TurnStarted,
)
from agent.stacks.agents_api import AgentsApiStack
from agent.stacks.client import ConversationLost, ToolGroupUnknown
from tests.fakes.llama_stack import model
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

pytestmark = pytest.mark.anyio

FOLDER = Path(__file__).parents[2].parent / "shared/recordings/llama_stack/v0.3.5_agents"
NAMES = sorted(path.stem for path in FOLDER.glob("*.sse"))

CLIENT_TOOLS = ("get_weather",)
OUT_OF_STEPS = {"f15_turn_max_infer_iters"}
ERRORS: dict[str, type[StackError]] = {
    "c15_turn_unknown_session": ConversationLost,
    "c16_turn_unknown_agent": ConversationLost,
    "j12_turn_deleted_agent": ConversationLost,
    "c18_turn_unknown_model": ModelNotFound,
    "f10_turn_toolgroup_unknown": ToolGroupUnknown,
}

if not NAMES:
    pytest.skip("the recordings are not here", allow_module_level=True)


def chunks_of(name: str) -> list[Any]:
    """Return what was recorded, decoded."""
    lines = (FOLDER / f"{name}.sse").read_bytes().split(b"\n")
    return [json.loads(line.removeprefix(b"data: ")) for line in lines if line]


def payloads_of(name: str) -> list[Any]:
    """Return the events that were recorded, without errors."""
    return [chunk["event"]["payload"] for chunk in chunks_of(name) if "event" in chunk]


async def replay(request: Request) -> StreamingResponse:
    """Answer a turn with the recording that its session names, in pieces that fit no line."""
    recorded = (FOLDER / f"{request.path_params['name']}.sse").read_bytes()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(recorded), 997):
            yield recorded[start : start + 997]

    return StreamingResponse(pieces(), media_type="text/event-stream")


@pytest.fixture(scope="module")
async def stack() -> AsyncIterator[AgentsApiStack]:
    """Return a stack in front of the recordings: a session's id is the name of one."""
    agent = "/v1alpha/agents/{agent_id}"
    served = [
        Route(f"{agent}/session/{{name}}/turn", replay, methods=["POST"]),
        Route(agent, lambda _: JSONResponse({"agent_config": {"model": "vllm/mock-llm"}})),
        Route("/v1/models", lambda _: JSONResponse({"data": [model("vllm/mock-llm")]})),
    ]
    tools = [{"name": name, "description": "", "input_schema": {}} for name in CLIENT_TOOLS]
    async with run_server(Starlette(routes=served)) as url:
        stack = AgentsApiStack(
            Settings.model_validate(
                {"llama_stack": {"url": url, "timeout": 5}, "agent": {"client_tools": tools}}
            )
        )
        await stack.open()
        yield stack
        await stack.close()


async def play(stack: AgentsApiStack, name: str) -> tuple[list[TurnEvent], StackError | None]:
    """Return the events of a recorded turn and the error that ended it."""
    request = TurnRequest(
        conversation_id=f"agent/{name}",
        task_id="t",
        context_id="c",
        message_id="m",
        owner="o",
        tenant="",
        parts=(TextPart("any"),),
    )
    events: list[TurnEvent] = []
    try:
        with anyio.fail_after(5):
            async for event in stack.turn(request):
                events.append(event)  # noqa: PERF401  # what came before an error counts
    except StackError as error:
        return events, error
    return events, None


FAILED = [name for name in NAMES if "error" in chunks_of(name)[-1]]
WAITING = [name for name in NAMES if name not in FAILED and "awaiting" in str(chunks_of(name)[-1])]
COMPLETE = [name for name in NAMES if name not in FAILED + WAITING]


@pytest.mark.parametrize("name", FAILED)
async def test_a_turn_that_failed_raises_its_error(stack: AgentsApiStack, name: str) -> None:
    """In our words; what the server said is the cause."""
    _, error = await play(stack, name)
    said = chunks_of(name)[-1]["error"]["message"]
    assert type(error) is ERRORS.get(name, TurnFailed)
    assert error is not None
    assert str(error.__cause__) == said
    assert error.message not in said
    assert "mock" not in error.message


@pytest.mark.parametrize("name", WAITING)
async def test_a_turn_that_waits_asks_for_its_client_tools(
    stack: AgentsApiStack, name: str
) -> None:
    """One that waits for a tool of the server has run out of steps."""
    events, error = await play(stack, name)
    assert error is None
    message = payloads_of(name)[-1]["turn"]["output_message"]
    if name in OUT_OF_STEPS:
        assert events[-1] == Failed("The agent stopped after 10 steps without an answer.")
        return
    assert isinstance(events[-1], InputRequired)
    assert events[-1].data == {
        "type": "tool_calls",
        "tool_calls": [
            {**call, "arguments": json.loads(call["arguments"])} for call in message["tool_calls"]
        ],
    }


@pytest.mark.parametrize("name", COMPLETE)
async def test_a_complete_turn_gives_the_answer_or_the_refusal(
    stack: AgentsApiStack, name: str
) -> None:
    """The text is the last message's, which is what was streamed since the last tool."""
    events, error = await play(stack, name)
    assert error is None
    payloads = payloads_of(name)
    message = payloads[-1]["turn"]["output_message"]
    if any(payload.get("step_details", {}).get("violation") for payload in payloads):
        assert events[-1] == Rejected(message["content"])
        return
    assert events[-1] == TurnCompleted(message["stop_reason"], message["content"])
    steps = [at for at, event in enumerate(events) if isinstance(event, StepStarted)]
    last = [at for at in steps if events[at] == StepStarted("inference")][-1]
    streamed = [event.text for event in events[last:] if isinstance(event, TextDelta)]
    assert "".join(streamed) == message["content"]


@pytest.mark.parametrize("name", NAMES)
async def test_every_turn_is_told_in_order(stack: AgentsApiStack, name: str) -> None:
    """Its id once and only when known; a step ends after it began, a tool's with what it gave."""
    events, error = await play(stack, name)
    ids = [
        (payload.get("turn") or payload.get("step_details") or {}).get("turn_id")
        for payload in payloads_of(name)
    ]
    known = next((turn_id for turn_id in ids if turn_id), None)
    assert [event.turn_id for event in events if isinstance(event, TurnStarted)] == (
        [known] if known else []
    )
    running: list[Any] = []
    for event in events:
        if isinstance(event, StepStarted):
            running.append((event.kind, event.name))
        elif isinstance(event, StepEnded):
            running.remove((event.kind, event.name))
            assert event.detail is not None
    assert error is not None or not running


@pytest.mark.parametrize("name", [name for name in NAMES if "_rag" in name])
async def test_a_search_gives_citations(stack: AgentsApiStack, name: str) -> None:
    """With the name of the file and its passage."""
    events, _ = await play(stack, name)
    (citation,) = [event for event in events if isinstance(event, Citation)]
    assert citation.title == "doc.txt"
    assert citation.text is not None
    assert citation.text.startswith("The quick brown fox")
    assert citation.score is not None
