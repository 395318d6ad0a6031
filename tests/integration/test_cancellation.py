"""A task is canceled in every state and wherever it runs, once."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import pytest

from agent.caller import Caller
from agent.errors import (
    StackUnavailable,
    TaskNotCancelable,
    TaskNotFound,
    UnsupportedOperation,
)
from agent.model import StatusUpdate, TaskRequest, TaskState
from agent.stacks import InputRequired, TextDelta, TurnStarted
from tests.fakes.engine import answer_of, engine, until
from tests.fakes.scripted_stack import DONE, Script
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database
    from tests.fakes.engine import Engine

pytestmark = pytest.mark.anyio


def hang() -> Script:
    """Return a script that answers a little and then no more."""
    return Script([TurnStarted("turn-1"), TextDelta("so far"), anyio.Event()])


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


async def ends(running: Engine, task_id: str) -> list[TaskState]:
    """Return the terminal states in the log."""
    return [
        event.status.state
        for _, event in await running.log(task_id)
        if isinstance(event, StatusUpdate)
        and event.status.state in {TaskState.CANCELED, TaskState.COMPLETED, TaskState.FAILED}
    ]


class Canceled:
    """What the stack was told to cancel."""

    def __init__(self, running: Engine, error: Exception | None = None) -> None:
        self.turns: list[tuple[str, str]] = []
        self.error = error
        running.stack.cancel = self.cancel  # type: ignore[method-assign] # this stack is told

    async def cancel(self, conversation_id: str, turn_id: str) -> None:
        """Remember the turn."""
        self.turns.append((conversation_id, turn_id))
        if self.error is not None:
            raise self.error


async def test_a_task_that_runs_is_canceled(database: Database) -> None:
    """The stack's stream is closed and the stack is told; what was said stays."""
    async with engine(hang(), database) as running:
        told = Canceled(running)
        task = await running.send(return_immediately=True)
        await running.stored(task.id, "so far")
        follower = await running.follow(task.id)
        canceled = await running.cancel(task.id)

        assert canceled.status.state is TaskState.CANCELED
        assert answer_of(canceled) == "so far"
        assert running.script.closed_turns == 1
        assert told.turns == [("conversation-1", "turn-1")]
        assert (await follower.rest())[-1][1].status.state is TaskState.CANCELED  # type: ignore[union-attr]
        assert await ends(running, task.id) == [TaskState.CANCELED]
        with pytest.raises(TaskNotCancelable):
            await running.cancel(task.id)


async def test_a_task_is_canceled_whatever_the_stack_makes_of_it(database: Database) -> None:
    async with engine(hang(), database) as running:
        Canceled(running, StackUnavailable())
        task = await running.send(return_immediately=True)
        await running.stored(task.id, "so far")
        assert (await running.cancel(task.id)).status.state is TaskState.CANCELED


async def test_who_waits_for_the_answer_gets_the_canceled_task(database: Database) -> None:
    async with engine(hang(), database) as running:
        answers = []
        async with anyio.create_task_group() as group:

            async def send() -> None:
                answers.append(await running.send())

            group.start_soon(send)

            async def is_there() -> bool:
                (task_id,) = running.runner.running() or [""]
                return await running.state.tasks.standing("ann", "", task_id) is not None

            await until(is_there)
            (task_id,) = running.runner.running()
            await running.cancel(task_id)
        assert answers[0].status.state is TaskState.CANCELED


async def test_a_task_that_waits_is_canceled(database: Database) -> None:
    """What it asked for is no more awaited."""
    async with engine(
        Script([TurnStarted("turn-1"), InputRequired("which?")]), database
    ) as running:
        told = Canceled(running)
        task = await running.send()
        canceled = await running.cancel(task.id)
        assert canceled.status.state is TaskState.CANCELED
        assert canceled.history[-1].parts[0].text == "which?"
        assert told.turns == [("conversation-1", "turn-1")]
        assert await ends(running, task.id) == [TaskState.CANCELED]


async def test_a_task_that_another_process_runs_is_canceled_there(database: Database) -> None:
    async with engine(hang(), database) as here, engine(Script([DONE]), database) as there:
        await here.recovery.open()
        told = Canceled(here)
        task = await here.send(return_immediately=True)
        await here.stored(task.id, "so far")
        canceled = await there.cancel(task.id)
        assert canceled.status.state is TaskState.CANCELED
        assert here.script.closed_turns == 1
        assert told.turns == [("conversation-1", "turn-1")]
        await here.recovery.close()


async def test_a_task_whose_process_died_is_canceled(database: Database) -> None:
    """With numbers above all that a follower can have seen."""
    async with engine(hang(), database) as dying:
        task = await dying.send(return_immediately=True)
        await dying.stored(task.id, "so far")
        await dying.die()
    async with engine(Script([DONE]), database) as running:
        canceled = await running.cancel(task.id)
        assert canceled.status.state is TaskState.CANCELED
        numbers = [seq for seq, _ in await running.log(task.id)]
        assert any(after > before + 100_000 for before, after in pairwise(numbers))
        assert await running.recovery.sweep() == 0


async def test_of_many_who_cancel_all_hear_the_same(database: Database) -> None:
    async with engine(hang(), database) as running:
        task = await running.send(return_immediately=True)
        await running.stored(task.id, "so far")
        states: list[TaskState] = []

        async def cancel() -> None:
            try:
                states.append((await running.cancel(task.id)).status.state)
            except TaskNotCancelable:
                states.append(TaskState.CANCELED)

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(cancel)
        assert states == [TaskState.CANCELED] * 10
        assert await ends(running, task.id) == [TaskState.CANCELED]
        assert running.script.closed_turns == 1


async def test_a_task_that_ended_is_not_canceled(database: Database) -> None:
    async with engine(Script([TextDelta("a"), DONE]), database) as running:
        task = await running.send()
        with pytest.raises(TaskNotCancelable):
            await running.cancel(task.id)
        assert (await running.get(task.id)).status.state is TaskState.COMPLETED


async def test_a_task_of_another_is_not_there_to_be_canceled(database: Database) -> None:
    async with engine(hang(), database) as running:
        task = await running.send(return_immediately=True)
        for caller in (Caller("bob"), Caller("ann", "other")):
            with pytest.raises(TaskNotFound):
                await running.service._cancellation.cancel(caller, task.id)
        with pytest.raises(TaskNotFound):
            await running.service.cancel(Caller("ann"), TaskRequest("no-such-task"))
        assert running.runner.running() == [task.id]


async def test_a_canceled_task_takes_no_more_messages(database: Database) -> None:
    async with engine(Script([InputRequired("which?")]), database) as running:
        task = await running.send()
        await running.cancel(task.id)
        with pytest.raises(UnsupportedOperation):
            await running.send("more", task_id=task.id)
