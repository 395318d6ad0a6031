"""Messages to a task that is busy: they take turns, and do not wait for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.stacks import InputRequired, TextDelta
from tests.conformance._requirements import requirement
from tests.conformance.client import in_process, on_socket
from tests.fakes.scripted_stack import DONE, Script

if TYPE_CHECKING:
    from tests.conformance.wire import Json, Wire

pytestmark = pytest.mark.anyio

QUESTION = [InputRequired("Which city?")]
REPLY = [TextDelta("Sunny."), DONE]
BUSY: dict[str, Any] = {"limits": {"queue_seconds": 0}}


@requirement("1.0/error-unsupported", "0.3/a2a-errors")
async def test_a_task_that_is_busy_for_too_long_takes_no_message(wire: Wire) -> None:
    gate = anyio.Event()
    async with in_process(Script([TextDelta("a"), gate, DONE]), wire, **BUSY) as client:
        at_once = wire.configuration(at_once=True)
        task = await client.send_task("hi", configuration=at_once)
        reply = await client.refused("and another thing", taskId=task["id"])
        assert reply.code == -32004
        gate.set()


@requirement("1.0/error-unsupported", "0.3/a2a-errors")
async def test_a_task_that_goes_on_takes_no_second_message(wire: Wire) -> None:
    """Also while the stack has said nothing yet: the turn would be resumed twice."""
    gate = anyio.Event()
    async with on_socket(Script(QUESTION, [gate, *REPLY], REPLY), wire, **BUSY) as client:
        asked = await client.send_task("Weather?")
        async with anyio.create_task_group() as sending:
            sending.start_soon(lambda: client.send_task("Zürich", taskId=asked["id"]))
            while len(client.script.requests) < 2:
                await client.get("any")
            reply = await client.refused("Bern", taskId=asked["id"])
            assert reply.code == -32004
            gate.set()
        assert len(client.script.requests) == 2
        task = await client.settled(asked["id"])
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"


@requirement("1.0/input-required", "0.3/input-required")
async def test_messages_to_one_task_are_taken_one_after_another(wire: Wire) -> None:
    async with on_socket(Script(QUESTION, QUESTION, REPLY), wire) as client:
        asked = await client.send_task("Weather?")
        answers: list[Json] = []

        async def answer(text: str) -> None:
            answers.append(await client.send_task(text, messageId=text, taskId=asked["id"]))

        async with anyio.create_task_group() as sending:
            sending.start_soon(answer, "Bern")
            sending.start_soon(answer, "Basel")
        by_state = {answer["status"]["state"]: answer for answer in answers}
        assert by_state.keys() == {"TASK_STATE_INPUT_REQUIRED", "TASK_STATE_COMPLETED"}
        history = by_state["TASK_STATE_COMPLETED"]["history"]
        texts = [message["parts"][0]["text"] for message in history]
        assert texts[0] == "Weather?"
        assert {texts[2], texts[4]} == {"Bern", "Basel"}
