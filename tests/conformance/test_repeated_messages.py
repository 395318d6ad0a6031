"""The same message again: ids that are unique by construction name one task, others do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from agent.stacks import TextDelta
from tests.conformance._requirements import requirement
from tests.conformance.client import in_process, on_socket
from tests.fakes.scripted_stack import ANSWER, DONE, Script

if TYPE_CHECKING:
    from tests.conformance.client import Client
    from tests.conformance.wire import Json, Wire

pytestmark = pytest.mark.anyio

UNIQUE = "0190a6b2-3c4d-7e5f-8a9b-0c1d2e3f4a5b"


@requirement("1.0/send-repeated", "0.3/send")
async def test_a_message_that_is_sent_twice_is_run_once(wire: Wire) -> None:
    async with in_process(Script(ANSWER), wire) as client:
        first = await client.send_task("hi", messageId=UNIQUE)
        assert await client.send_task("hi", messageId=UNIQUE) == first
        events = await client.streamed("hi", messageId=UNIQUE)
        assert events[0].result["task"]["id"] == first["id"]
        last = events[-1].result
        told = last.get("task") or last["statusUpdate"]
        assert told["status"]["state"] == "TASK_STATE_COMPLETED"
        assert len(client.script.requests) == 1


@requirement("1.0/send-repeated", "1.0/validation-field", "0.3/validation")
async def test_another_message_under_the_same_id_is_refused(wire: Wire) -> None:
    async with in_process(Script(ANSWER), wire) as client:
        await client.send_task("hi", messageId=UNIQUE)
        reply = await client.refused("something else", messageId=UNIQUE)
        assert (reply.code, reply.field) == (-32602, "message.messageId")
        assert len(client.script.requests) == 1


@requirement("1.0/send-repeated", "1.0/task-id", "0.3/send")
async def test_an_id_that_others_may_use_too_names_no_task(
    wire: Wire, answering: dict[Wire, Client]
) -> None:
    for name in ("msg-1", "tck-complete-task", "1", UNIQUE[:-1], "a" + UNIQUE):
        tasks = [await answering[wire].send_task("hi", messageId=name) for _ in range(2)]
        assert tasks[0]["id"] != tasks[1]["id"]
        assert tasks[0]["history"][0]["messageId"] == name


@requirement("1.0/send-repeated", "0.3/send")
async def test_a_message_that_comes_many_times_at_once_is_one_task(wire: Wire) -> None:
    gate = anyio.Event()
    async with on_socket(Script([TextDelta("a"), gate, DONE]), wire) as client:
        answers: list[Json] = []

        async def send() -> None:
            answers.append(await client.send_task("hi", messageId=UNIQUE))

        async with anyio.create_task_group() as sending:
            for _ in range(10):
                sending.start_soon(send)
            while not client.script.requests:
                await client.get("any")
            gate.set()
        assert {answer["id"] for answer in answers} == {answers[0]["id"]}
        assert len(client.script.requests) == 1
