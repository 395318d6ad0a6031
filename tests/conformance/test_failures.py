"""What goes wrong in a turn: an error of the protocol before there is a task, a failed task after that."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.errors import (
    AgentError,
    ContentTypeNotSupported,
    InvalidParams,
    ModelNotFound,
    StackTimeout,
    StackUnavailable,
    StateUnavailable,
    TurnFailed,
    UnsupportedOperation,
)
from agent.stacks import (
    ArtifactPart,
    DataPart,
    DirectMessage,
    Failed,
    InputRequired,
    Rejected,
    StepStarted,
    TextDelta,
    TextPart,
)
from tests.conformance._requirements import requirement
from tests.conformance.client import LEAKS, in_process, on_socket
from tests.fakes.scripted_stack import ANSWER, DONE, Script

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from agent.stacks import TurnEvent, TurnRequest
    from tests.conformance.wire import Json, Wire

pytestmark = pytest.mark.anyio

OUTCOMES = {
    "rejected": (Rejected("I may not."), "REJECTED", "I may not."),
    "failed": (Failed("The model is broken."), "FAILED", "The model is broken."),
    "unavailable": (StackUnavailable(), "FAILED", "The stack behind this agent cannot be reached."),
    "timeout": (StackTimeout("It took too long."), "FAILED", "It took too long."),
    "no model": (ModelNotFound("There is no model x."), "FAILED", "There is no model x."),
    "turn failed": (TurnFailed(), "FAILED", "The turn ended with an error."),
    "state of the stack": (
        StateUnavailable("secret"),
        "FAILED",
        "The agent failed because of an internal error.",
    ),
    "an exception": (
        RuntimeError("secret at 10.0.0.1"),
        "FAILED",
        "The agent failed because of an internal error.",
    ),
    "an error of a loop": (
        KeyError("secret"),
        "FAILED",
        "The agent failed because of an internal error.",
    ),
}
# What no stack should say, and this server must survive.
NONSENSE = {
    "half of a character": TextDelta("\ud83d"),
    "half of a character in a step": StepStarted("tool_execution", "\udfff"),
    "an object": StepStarted("tool_execution", "x", object()),
    "keys that are none": ArtifactPart((DataPart({(1, 2): 3}),), "a"),
    "what is nested too deeply": InputRequired("?", json.loads("[" * 900 + "]" * 900)),
    "no event": "hello",
    "nothing": None,
}


def said(task: Json) -> str:
    (part,) = task["status"]["message"]["parts"]
    text: str = part["text"]
    return text


@pytest.mark.parametrize("before", [[], [TextDelta("Well. "), StepStarted("inference")]])
@pytest.mark.parametrize(("outcome", "state", "text"), OUTCOMES.values(), ids=OUTCOMES.keys())
@requirement("1.0/send-blocks", "1.0/stream-closes", "1.0/error-content")
async def test_a_turn_that_goes_wrong_is_a_task_that_says_so(
    rpc: Wire, before: list[TurnEvent], outcome: TurnEvent | Exception, state: str, text: str
) -> None:
    async with in_process(Script([*before, outcome]), rpc) as client:
        task = await client.send_task("hi")
        assert (task["status"]["state"], said(task)) == (f"TASK_STATE_{state}", text)
        assert [a["parts"] for a in task.get("artifacts", [])] == [[{"text": "Well. "}]] * bool(
            before
        )
        assert (await client.get(task["id"])).task == task
        reply = await client.call(rpc.stream, client.params("hi"))
        assert said(reply.events()[-1].result["statusUpdate"]) == text
        assert not [leak for leak in LEAKS if leak in reply.text]
        assert client.script.closed_turns == 2


@pytest.mark.parametrize("event", NONSENSE.values(), ids=NONSENSE.keys())
@requirement("1.0/data-model")
async def test_nonsense_of_a_stack_fails_that_task_alone(rpc: Wire, event: TurnEvent) -> None:
    async with in_process(Script([TextDelta("a"), event, DONE], ANSWER), rpc) as client:
        task = await client.send_task("hi")
        assert task["status"]["state"] == "TASK_STATE_FAILED"
        assert (await client.get(task["id"])).task == task
        assert (await client.send_task("hi"))["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.parametrize("events", [[], [TextDelta("a")], [StepStarted("inference")]])
@requirement("1.0/send-blocks", "1.0/stream-closes")
async def test_a_turn_that_just_stops_is_a_failed_task(rpc: Wire, events: list[TurnEvent]) -> None:
    async with in_process(Script(events), rpc) as client:
        task = await client.send_task("hi")
        assert task["status"]["state"] == "TASK_STATE_FAILED"
        assert said(task) == "The agent ended without an answer."


@requirement("1.0/send-blocks")
async def test_nothing_is_heard_of_what_a_stack_says_after_the_end(wire: Wire) -> None:
    async with in_process(
        Script([TextDelta("yes"), DONE, TextDelta("psst"), Failed("Ha.")]), wire
    ) as client:
        task = await client.send_task("hi")
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        assert task["artifacts"][0]["parts"] == [{"text": "yes"}]


@requirement("1.0/send-blocks")
async def test_a_turn_that_cannot_be_closed_is_over_all_the_same(wire: Wire) -> None:
    async def turn(_request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        try:
            yield DONE
        finally:
            raise RuntimeError("secret")

    async with in_process(Script(turn), wire) as client:
        task = await client.send_task("hi")
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ContentTypeNotSupported("Only images, please."), -32005),
        (UnsupportedOperation("Not on Sundays."), -32004),
        (InvalidParams("message.parts[0]", "is too long for the model"), -32602),
    ],
)
@requirement(
    "1.0/send-media-type",
    "1.0/stream-errors",
    "1.0/error-content-type",
    "1.0/error-unsupported",
    "0.3/a2a-errors",
    "1.0/media-types",
)
async def test_a_message_that_the_stack_cannot_take_is_refused_and_no_task(
    wire: Wire, error: AgentError, code: int
) -> None:
    async with in_process(Script([error], [error], ANSWER), wire) as client:
        reply = await client.refused("hi")
        assert (reply.code, reply.error["message"]) == (code, error.message)
        first, second = client.script.requests
        assert (await client.get(first.task_id)).code == -32001
        assert (await client.get(second.task_id)).code == -32001
        assert await client.send("hi")


@requirement("1.0/send-media-type")
async def test_a_message_that_the_stack_refuses_too_late_is_a_failed_task(wire: Wire) -> None:
    async with in_process(
        Script([TextDelta("a"), ContentTypeNotSupported("Only images, please.")]), wire
    ) as client:
        task = await client.send_task("hi")
        assert (task["status"]["state"], said(task)) == (
            "TASK_STATE_FAILED",
            "Only images, please.",
        )


@pytest.mark.parametrize("error", [StackUnavailable(), RuntimeError("secret")])
@requirement("1.0/send-blocks", "1.0/stream-closes")
async def test_a_conversation_that_cannot_be_started_is_a_failed_task(
    wire: Wire, error: Exception
) -> None:
    async with in_process(Script(ANSWER, starting=error), wire) as client:
        task = await client.send_task("hi")
        assert task["status"]["state"] == "TASK_STATE_FAILED"
        assert "secret" not in said(task)
        assert (await client.get(task["id"])).task == task
        events = await client.streamed("hi")
        assert events[-1].result["statusUpdate"]["status"]["state"] == "TASK_STATE_FAILED"


@requirement("1.0/stream-message", "1.0/send-answer")
async def test_a_message_that_comes_after_the_first_event_completes_the_task(wire: Wire) -> None:
    late = [StepStarted("inference"), DirectMessage((TextPart("hello"),))]
    async with in_process(Script(late), wire) as client:
        task = await client.send_task("hi")
        assert (task["status"]["state"], said(task)) == ("TASK_STATE_COMPLETED", "hello")


@requirement("1.0/stream-message", "1.0/send-answer")
async def test_a_message_that_comes_after_the_task_was_made_completes_the_task(rpc: Wire) -> None:
    """A task is made for a stack that says nothing for a while."""
    late = [DirectMessage((TextPart("hello"),))]
    gate = anyio.Event()
    async with on_socket(Script([gate, *late]), rpc) as client, client.streaming("hi") as events:
        task_id = (await anext(events)).result["task"]["id"]
        gate.set()
        last = [event async for event in events][-1]
        assert said(last.result["statusUpdate"]) == "hello"
        task = (await client.get(task_id)).task
        assert (task["status"]["state"], said(task)) == ("TASK_STATE_COMPLETED", "hello")


@requirement("1.0/send-blocks", "1.0/limits")
async def test_a_turn_that_takes_too_long_is_given_up(rpc: Wire) -> None:
    forever = [TextDelta("a"), anyio.Event()]
    async with in_process(Script(forever), rpc, limits={"turn_seconds": 0.05}) as client:
        task = await client.send_task("hi")
        assert task["status"]["state"] == "TASK_STATE_FAILED"
        assert "in time" in said(task)
        assert client.script.closed_turns == 1


@requirement("1.0/get-state", "0.3/get")
async def test_what_ran_when_the_server_stopped_says_so(rpc: Wire, tmp_path: object) -> None:
    """Unless it is to be gone on with."""
    script = Script([TextDelta("a"), anyio.Event()])
    settings: dict[str, Any] = {
        "a2a_state": {"sqlite": {"db_path": f"{tmp_path}/state.db"}},
        "a2a": {"recovery": "fail", "drain_seconds": 0},
    }
    async with in_process(script, rpc, **settings) as client:
        at_once = rpc.configuration(at_once=True)
        running = await client.send_task("hi", configuration=at_once)
    async with in_process(script, rpc, **settings) as client:
        task = await client.settled(running["id"])
        assert task["status"]["state"] == "TASK_STATE_FAILED"
        assert task["artifacts"][0]["parts"] == [{"text": "a"}]


@requirement("1.0/get-state", "0.3/get", "1.0/stream-apart")
async def test_what_ran_when_the_server_stopped_is_gone_on_with(
    rpc: Wire, tmp_path: object
) -> None:
    """By whichever server is there next; the answer takes the place of what there was of it."""
    script = Script([TextDelta("a"), anyio.Event()], ANSWER)
    settings: dict[str, Any] = {
        "a2a_state": {"sqlite": {"db_path": f"{tmp_path}/state.db"}},
        "a2a": {"drain_seconds": 0},
    }
    async with in_process(script, rpc, **settings) as client:
        at_once = rpc.configuration(at_once=True)
        running = await client.send_task("hi", configuration=at_once)
    async with in_process(script, rpc, **settings) as client:
        task = await client.settled(running["id"])
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        assert [artifact["parts"] for artifact in task["artifacts"]] == [[{"text": "yes"}]]


@requirement("1.0/limits")
async def test_an_answer_without_end_is_given_up(wire: Wire) -> None:
    """What came before it is kept."""
    flood = [TextDelta("a" * 1000)] * 20
    async with in_process(Script(flood), wire, limits={"turn_bytes": 10_000}) as client:
        task = await client.send_task("hi")
        assert task["status"]["state"] == "TASK_STATE_FAILED"
        assert "longer than this server keeps" in said(task)
        assert task["artifacts"][0]["parts"][0]["text"].startswith("aaaa")
