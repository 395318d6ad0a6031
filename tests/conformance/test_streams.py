"""Streams as they come: what is heard when, and what becomes of a task whose client goes away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from agent.stacks import (
    AuthRequired,
    DirectMessage,
    Failed,
    InputRequired,
    Rejected,
    StepStarted,
    TextDelta,
    TextPart,
    TurnCompleted,
)
from tests.conformance._requirements import requirement
from tests.conformance.client import call, in_process, on_socket
from tests.fakes.scripted_stack import DONE, Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conformance.client import Client, Event
    from tests.conformance.wire import Wire

pytestmark = pytest.mark.anyio

ENDS = {
    "completed": (DONE, "TASK_STATE_COMPLETED"),
    "failed": (Failed("No."), "TASK_STATE_FAILED"),
    "rejected": (Rejected("I may not."), "TASK_STATE_REJECTED"),
    "input required": (InputRequired("Which?"), "TASK_STATE_INPUT_REQUIRED"),
    "auth required": (AuthRequired("Log in."), "TASK_STATE_AUTH_REQUIRED"),
}


def text(event: Event) -> str:
    part: str = event.result["artifactUpdate"]["artifact"]["parts"][0]["text"]
    return part


def state(event: Event) -> str:
    state: str = event.result["statusUpdate"]["status"]["state"]
    return state


async def text_of(client: Client, task_id: str) -> str:
    """Return the text of a task so far."""
    artifacts = (await client.get(task_id)).task.get("artifacts", [])
    return "".join(part["text"] for artifact in artifacts for part in artifact["parts"])


@requirement("1.0/stream-immediate", "1.0/stream-task-first", "1.0/stream-order", "0.3/stream")
async def test_every_event_is_heard_before_the_next_is_made(wire: Wire) -> None:
    gates = [anyio.Event() for _ in range(4)]
    turn = [
        *(StepStarted("inference"), gates[0], TextDelta("a"), gates[1], TextDelta("b"), gates[2]),
        *(StepStarted("shield_call"), gates[3], DONE),
    ]
    async with (
        on_socket(Script(turn), wire) as client,
        client.streaming("hi") as events,
    ):
        task = await anext(events)
        assert task.result["task"]["status"]["state"] == "TASK_STATE_SUBMITTED"
        assert state(await anext(events)) == "TASK_STATE_WORKING"
        gates[0].set()
        assert text(await anext(events)) == "a"
        gates[1].set()
        assert text(await anext(events)) == "b"
        gates[2].set()
        assert state(await anext(events)) == "TASK_STATE_WORKING"
        gates[3].set()
        assert text(await anext(events)) == ""
        assert state(await anext(events)) == "TASK_STATE_COMPLETED"
        with pytest.raises(StopAsyncIteration):
            await anext(events)


@requirement("1.0/stream-immediate")
async def test_the_task_is_heard_of_although_the_stack_says_nothing(rpc: Wire) -> None:
    gate = anyio.Event()
    async with (
        on_socket(Script([gate, DONE]), rpc) as client,
        client.streaming("hi") as events,
    ):
        task = (await anext(events)).result["task"]
        assert (await client.get(task["id"])).task == task
        gate.set()
        assert state([event async for event in events][-1]) == "TASK_STATE_COMPLETED"


@pytest.mark.parametrize(("end", "expected"), ENDS.values(), ids=ENDS.keys())
@requirement("1.0/stream-closes", "1.0/stream-established", "1.0/auth-stream", "0.3/stream-final")
async def test_a_stream_closes_when_the_task_has_ended_or_waits(
    wire: Wire, end: TurnCompleted, expected: str
) -> None:
    async with in_process(Script([TextDelta("Well. "), end]), wire) as client:
        events = await client.streamed("hi")
        assert state(events[-1]) == expected
        task_id = events[0].result["task"]["id"]
        assert (await client.get(task_id)).task["status"]["state"] == expected
        if wire.version == "0.3":
            said = [event.body.get("result", event.body) for event in events]
            finals = [{**one, **one.get("statusUpdate", {})}.get("final") for one in said]
            assert finals.count(True) == 1
            assert finals[-1]


@requirement("1.0/stream-message", "0.3/stream-message")
async def test_a_message_is_the_whole_stream(wire: Wire) -> None:
    async with in_process(Script([DirectMessage((TextPart("hello"),))]), wire) as client:
        (event,) = await client.streamed("hi")
        assert event.result["message"]["parts"] == [{"text": "hello"}]
        assert event.seq is None


@requirement("1.0/stream-order")
async def test_events_are_numbered_from_the_task_on(rpc: Wire) -> None:
    deltas = [TextDelta(str(number)) for number in range(300)]
    async with in_process(Script([*deltas, DONE]), rpc) as client:
        events = await client.streamed("hi")
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert "task" in events[0].result
        assert [text(event) for event in events[2:-2]] == [delta.text for delta in deltas]


@requirement("1.0/stream-order")
async def test_numbers_go_on_when_a_task_goes_on(rpc: Wire) -> None:
    script = Script([TextDelta("a"), InputRequired("Which?")], [TextDelta("b"), DONE])
    async with in_process(script, rpc) as client:
        first = await client.streamed("hi")
        task_id = first[0].result["task"]["id"]
        second = await client.streamed("this", taskId=task_id)
        assert "task" in second[0].result
        seqs = [event.seq for event in first + second]
        assert seqs == sorted(set(seqs))  # type: ignore[type-var] # no message has come


@requirement("1.0/stream-apart", "0.3/stream")
async def test_a_client_that_goes_away_leaves_the_task_alone(wire: Wire) -> None:
    gate = anyio.Event()
    async with on_socket(Script([TextDelta("a"), gate, TextDelta("b"), DONE]), wire) as client:
        async with client.streaming("hi") as events:
            task_id = (await anext(events)).result["task"]["id"]
            assert state(await anext(events)) == "TASK_STATE_WORKING"
        gate.set()
        task = await client.settled(task_id)
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        assert await text_of(client, task_id) == "ab"


@requirement("1.0/stream-apart")
async def test_a_client_that_does_not_wait_for_its_answer_leaves_the_task_alone(
    rpc: Wire,
) -> None:
    gate = anyio.Event()
    script = Script([TextDelta("a"), gate, DONE])
    async with on_socket(script, rpc) as client:
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(client.call, rpc.send, client.params("hi"))
            while not script.requests:
                await client.get("any")
            # The task is stored before anybody hears of it.
            while (await client.get(script.requests[0].task_id)).is_error:
                pass
            waiting.cancel_scope.cancel()
        gate.set()
        (request,) = script.requests
        task = await client.settled(request.task_id)
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"


@requirement("1.0/get-state", "0.3/get")
async def test_a_running_task_shows_what_there_is_so_far(wire: Wire) -> None:
    gate = anyio.Event()
    turn = [TextDelta("so "), TextDelta("far"), StepStarted("inference"), gate, DONE]
    async with (
        on_socket(Script(turn), wire) as client,
        client.streaming("hi") as events,
    ):
        task_id = (await anext(events)).result["task"]["id"]
        for _ in range(4):
            await anext(events)
        task = (await client.get(task_id)).task
        assert task["status"]["state"] == "TASK_STATE_WORKING"
        assert task["artifacts"] == [{"artifactId": "answer", "parts": [{"text": "so far"}]}]
        gate.set()


@requirement("1.0/get-state")
async def test_text_is_stored_soon_although_nothing_follows_it(rpc: Wire) -> None:
    gate = anyio.Event()
    async with (
        on_socket(Script([TextDelta("so "), TextDelta("far"), gate, DONE]), rpc) as client,
        client.streaming("hi") as events,
    ):
        task_id = (await anext(events)).result["task"]["id"]
        while await text_of(client, task_id) != "so far":
            pass
        gate.set()


@requirement("1.0/stream-established")
async def test_a_silent_stream_is_kept_alive_by_comments(rpc: Wire) -> None:
    gate = anyio.Event()
    async with on_socket(
        Script([TextDelta("a"), gate, DONE]), rpc, a2a={"keep_alive_seconds": 0.01}
    ) as client:
        body = call(rpc.stream, client.params("hi"))
        async with client.http.stream("POST", "/a2a", json=body) as response:
            lines = [line async for line in _until_comment(response.aiter_lines(), gate)]
        assert ": keep-alive" in lines
        assert "completed" in lines[-2].lower()


async def _until_comment(lines: AsyncIterator[str], gate: anyio.Event) -> AsyncIterator[str]:
    async for line in lines:
        if line.startswith(":"):
            gate.set()
        yield line


@requirement("1.0/rpc-stream", "0.3/stream-sse")
async def test_nobody_on_the_way_may_keep_or_change_a_stream(rpc: Wire) -> None:
    async with in_process(Script([DONE]), rpc) as client:
        reply = await client.call(rpc.stream, client.params("hi"))
        assert reply.headers["cache-control"] == "no-cache, no-transform"
        assert reply.headers["x-accel-buffering"] == "no"
