"""How to send: waiting or not, with how much history, and how many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from agent.stacks import (
    AuthRequired,
    DirectMessage,
    InputRequired,
    TextDelta,
    TextPart,
)
from tests.conformance._requirements import requirement
from tests.conformance.client import in_process, on_socket
from tests.fakes.scripted_stack import ANSWER, DONE, Script

if TYPE_CHECKING:
    from agent.stacks import TurnEvent
    from tests.conformance.client import Client, Reply
    from tests.conformance.wire import Json, Wire

pytestmark = pytest.mark.anyio

HELLO = [DirectMessage((TextPart("hello"),))]


@pytest.mark.parametrize(
    ("end", "state", "at_once"),
    [
        (DONE, "COMPLETED", None),
        (DONE, "COMPLETED", False),
        (InputRequired("?"), "INPUT_REQUIRED", None),
        (AuthRequired("?"), "AUTH_REQUIRED", None),
    ],
)
@requirement("1.0/send-blocks", "0.3/blocking")
async def test_sending_waits_until_the_task_has_ended_or_waits(
    wire: Wire, end: TurnEvent, state: str, at_once: bool | None
) -> None:
    gate = anyio.Event()
    async with on_socket(Script([TextDelta("a"), gate, end]), wire) as client:
        answers: list[Json] = []

        async def send() -> None:
            configuration = wire.configuration(at_once=at_once)
            answers.append(await client.send_task("hi", configuration=configuration))

        async with anyio.create_task_group() as sending:
            sending.start_soon(send)
            while not client.script.requests:
                await client.get("any")
            task_id = client.script.requests[0].task_id
            while (await client.get(task_id)).is_error:
                pass
            assert answers == []
            gate.set()
        assert answers[0]["status"]["state"] == f"TASK_STATE_{state}"


@requirement("1.0/send-at-once", "0.3/not-blocking", "1.0/get-state")
async def test_sending_returns_at_once_when_asked_to(wire: Wire) -> None:
    gate = anyio.Event()
    async with in_process(Script([TextDelta("a"), gate, DONE]), wire) as client:
        at_once = wire.configuration(at_once=True)
        task = await client.send_task("hi", configuration=at_once)
        assert task["status"]["state"] in {"TASK_STATE_SUBMITTED", "TASK_STATE_WORKING"}
        got = (await client.get(task["id"])).task
        assert got["status"]["state"] in {"TASK_STATE_SUBMITTED", "TASK_STATE_WORKING"}
        gate.set()
        assert (await client.settled(task["id"]))["status"]["state"] == "TASK_STATE_COMPLETED"


@requirement("1.0/at-once-message", "1.0/at-once-stream", "0.3/not-blocking")
async def test_being_in_a_hurry_changes_neither_messages_nor_streams(wire: Wire) -> None:
    at_once = wire.configuration(at_once=True)
    async with in_process(Script(HELLO, ANSWER), wire) as client:
        sent = await client.send("hi", configuration=at_once)
        assert sent["message"]["parts"] == [{"text": "hello"}]
        events = await client.streamed("hi", configuration=at_once)
        last = events[-1].result["statusUpdate"]
        assert last["status"]["state"] == "TASK_STATE_COMPLETED"


HISTORIES: list[tuple[int | None, list[str] | None]] = [
    (None, ["one", "?", "two", "?", "three"]),
    (0, None),
    (1, ["three"]),
    (2, ["?", "three"]),
    (5, ["one", "?", "two", "?", "three"]),
    (2**31 - 1, ["one", "?", "two", "?", "three"]),
]


@requirement(
    "1.0/history-unset",
    "1.0/history-zero",
    "1.0/history-most",
    "1.0/history",
    "0.3/history",
    "0.3/get-history",
)
async def test_history_is_as_long_as_asked_for(wire: Wire) -> None:
    question = [InputRequired("?")]
    turns = [question, question, ANSWER] * len(HISTORIES)
    async with in_process(Script(*turns), wire) as client:
        for length, texts in HISTORIES:
            task = await client.send_task("one")
            await client.send_task("two", taskId=task["id"])
            configuration = wire.configuration(history=length)
            task = await client.send_task("three", taskId=task["id"], configuration=configuration)
            limit = {} if length is None else {"historyLength": length}
            assert (await client.get(task["id"], **limit)).task == task
            history = task.get("history")
            assert (history and [message["parts"][0]["text"] for message in history]) == texts
            assert len((await client.get(task["id"])).task["history"]) == 5


@requirement("1.0/history-zero", "0.3/history")
async def test_the_task_of_a_stream_has_as_much_history_as_asked_for(
    wire: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[wire]
    events = await client.streamed("hi", configuration=wire.configuration(history=0))
    assert "history" not in events[0].result["task"]


@pytest.mark.parametrize("limit", ["running_tasks", "running_tasks_per_owner"])
@requirement("1.0/temporary", "1.0/limits", "0.3/resources", "1.0/rate-limit")
async def test_one_task_too_many_is_refused_for_now(wire: Wire, limit: str) -> None:
    gate = anyio.Event()
    async with in_process(
        Script([TextDelta("a"), gate, DONE]), wire, limits={limit: 2, "queue_seconds": 0}
    ) as client:
        at_once = wire.configuration(at_once=True)
        tasks = [await client.send_task("hi", configuration=at_once) for _ in range(2)]
        reply = await client.refused("hi")
        assert reply.code == -32051
        assert reply.retry_after > 0
        assert len(client.script.requests) == 2
        gate.set()
        for task in tasks:
            await client.settled(task["id"])
        assert (await when_free(client, client.params("hi"))).sent


@pytest.mark.parametrize("limit", ["running_bytes", "running_bytes_per_owner"])
@requirement("1.0/temporary", "1.0/limits", "0.3/resources")
async def test_messages_that_are_too_large_together_are_refused_for_now(
    wire: Wire, limit: str
) -> None:
    """Small ones, and what is alone, run all the same."""
    gate = anyio.Event()
    script = Script([TextDelta("a"), gate, DONE], ANSWER)
    async with in_process(script, wire, limits={limit: 10_000}) as client:
        large, at_once = "x" * 20_000, wire.configuration(at_once=True)
        running = await client.send_task(large[:7_000], configuration=at_once)

        reply = await client.refused(large[:7_000])

        assert reply.code == -32051
        assert reply.retry_after > 0
        assert (await client.send_task("hi"))["status"]["state"] == "TASK_STATE_COMPLETED"
        gate.set()
        await client.settled(running["id"])
        assert (await when_free(client, client.params(large))).sent


@requirement("1.0/temporary")
async def test_a_waiting_task_that_comes_at_a_busy_time_waits_on(wire: Wire) -> None:
    gate = anyio.Event()
    script = Script([InputRequired("?")], [TextDelta("a"), gate, DONE], ANSWER)
    async with in_process(script, wire, limits={"running_tasks": 1, "queue_seconds": 0}) as client:
        waiting = await client.send_task("hi")
        at_once = wire.configuration(at_once=True)
        running = await client.send_task("hi", configuration=at_once)
        assert (await client.refused("go on", taskId=waiting["id"])).code == -32051
        gate.set()
        await client.settled(running["id"])
        reply = await when_free(client, client.params("go on", taskId=waiting["id"]))
        assert reply.sent["task"]["status"]["state"] == "TASK_STATE_COMPLETED"


async def when_free(client: Client, params: Json) -> Reply:
    """Send until there is room: a task is heard to have ended a moment before it makes room."""
    while (reply := await client.call(client.wire.send, params)).is_error:
        assert reply.code == -32051
    return reply
