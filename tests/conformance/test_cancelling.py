"""Cancelling: in every state, once, and heard by all who follow the task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from agent.stacks import AuthRequired, Failed, InputRequired, Rejected, TextDelta
from tests.conformance._requirements import requirement
from tests.conformance.client import in_process, on_socket
from tests.fakes.scripted_stack import ANSWER, DONE, Script

if TYPE_CHECKING:
    from agent.stacks import TurnEvent
    from tests.conformance.client import Client
    from tests.conformance.wire import Json, Wire

pytestmark = pytest.mark.anyio

CANCELED = "TASK_STATE_CANCELED"


def forever() -> Script:
    """Return a turn that says something and goes on."""
    return Script([TextDelta("so far"), anyio.Event()])


async def started(client: Client) -> Json:
    """Send a message whose turn goes on; returns the task."""
    return await client.send_task("hi", configuration=client.wire.configuration(at_once=True))


@requirement("1.0/cancel-answer", "1.0/cancel-states", "0.3/cancel", "1.0/method-names")
async def test_a_running_task_is_cancelled(wire: Wire) -> None:
    async with in_process(forever(), wire) as client:
        task = await started(client)
        canceled = (await client.cancel(task["id"])).task
        assert (canceled["id"], canceled["status"]["state"]) == (task["id"], CANCELED)
        assert canceled["status"]["timestamp"]
        assert (await client.get(task["id"])).task == canceled
        assert client.script.closed_turns == 1


@requirement("1.0/cancel-answer", "1.0/artifacts", "0.3/cancel")
async def test_what_was_made_before_is_kept(wire: Wire) -> None:
    async with (
        on_socket(forever(), wire) as client,
        client.streaming("hi") as events,
    ):
        task_id = (await anext(events)).result["task"]["id"]
        while "artifactUpdate" not in (await anext(events)).result:
            pass
        canceled = (await client.cancel(task_id)).task
        assert canceled["artifacts"][0]["parts"] == [{"text": "so far"}]


@requirement("1.0/cancel-states", "1.0/cancel-answer", "0.3/cancel")
async def test_a_task_whose_stack_says_nothing_is_cancelled(wire: Wire) -> None:
    async with in_process(Script([anyio.Event()]), wire) as client:
        task = await started(client)
        assert (await client.cancel(task["id"])).task["status"]["state"] == CANCELED


@pytest.mark.parametrize("asked", [InputRequired("Which?"), AuthRequired("Log in.")])
@requirement("1.0/cancel-states", "1.0/cancel-answer", "0.3/cancel")
async def test_a_waiting_task_is_cancelled(wire: Wire, asked: TurnEvent) -> None:
    """It takes no more messages then."""
    async with in_process(Script([asked], ANSWER), wire) as client:
        task = await client.send_task("hi")
        canceled = (await client.cancel(task["id"])).task
        assert canceled["status"]["state"] == CANCELED
        assert (await client.refused("this", taskId=task["id"])).code == -32004
        assert (await client.get(task["id"])).task == canceled
        another = await client.send_task("hi", contextId=task["contextId"])
        assert another["id"] != task["id"]


@pytest.mark.parametrize("end", [DONE, Failed("No."), Rejected("I may not.")])
@requirement("1.0/cancel-ended", "1.0/error-task-not-cancelable", "0.3/cancel-ended")
async def test_an_ended_task_cannot_be_cancelled(wire: Wire, end: TurnEvent) -> None:
    async with in_process(Script([end]), wire) as client:
        task = await client.send_task("hi")
        assert (await client.cancel(task["id"])).code == -32002
        assert (await client.get(task["id"])).task == task


@requirement("1.0/cancel-again", "1.0/cancel-ended", "0.3/cancel-ended")
async def test_a_task_is_cancelled_once(wire: Wire) -> None:
    async with in_process(forever(), wire) as client:
        task = await started(client)
        canceled = (await client.cancel(task["id"])).task
        for _ in range(2):
            assert (await client.cancel(task["id"])).code == -32002
        assert (await client.get(task["id"])).task == canceled


@requirement("1.0/cancel-again", "0.3/cancel")
async def test_who_cancel_at_once_hear_of_one_end(wire: Wire) -> None:
    async with on_socket(forever(), wire) as client:
        task = await started(client)
        replies = []

        async def cancel() -> None:
            replies.append(await client.cancel(task["id"]))

        async with anyio.create_task_group() as cancelling:
            for _ in range(5):
                cancelling.start_soon(cancel)
        assert {reply.code for reply in replies if reply.is_error} <= {-32002}
        good = [reply.task for reply in replies if not reply.is_error]
        assert good
        final = (await client.get(task["id"])).task
        assert final["status"]["state"] == CANCELED
        assert all(answer["status"] == final["status"] for answer in good)


@requirement("1.0/cancel-unknown", "1.0/error-task-not-found", "0.3/cancel-unknown")
async def test_a_task_that_is_not_there_cannot_be_cancelled(
    wire: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[wire]
    assert (await client.cancel("no-such-task")).code == -32001


@requirement("1.0/stream-closes", "1.0/cancel-states", "0.3/stream-final")
async def test_who_streams_hears_of_the_cancelling(wire: Wire) -> None:
    async with (
        on_socket(forever(), wire) as client,
        client.streaming("hi") as events,
    ):
        task_id = (await anext(events)).result["task"]["id"]
        await client.cancel(task_id)
        rest = [event async for event in events]
        states = [
            event.result["statusUpdate"]["status"]["state"]
            for event in rest
            if "statusUpdate" in event.result
        ]
        assert states.count(CANCELED) == 1
        assert states[-1] == CANCELED
        assert "statusUpdate" in rest[-1].result


@requirement("1.0/send-blocks", "0.3/blocking")
async def test_who_waits_for_the_answer_gets_the_cancelled_task(wire: Wire) -> None:
    async with on_socket(forever(), wire) as client:
        answers: list[Json] = []

        async def send() -> None:
            answers.append(await client.send_task("hi"))

        async with anyio.create_task_group() as sending:
            sending.start_soon(send)
            while not client.script.requests:
                await client.get("any")
            task_id = client.script.requests[0].task_id
            while (reply := await client.cancel(task_id)).is_error:
                assert reply.code == -32001  # it is not a task yet
        assert answers == [(await client.get(task_id)).task]
        assert answers[0]["status"]["state"] == CANCELED
