"""Who listens to turns is told of each task that settles, once, whoever ends it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.caller import Caller
from agent.model import TaskState
from agent.stacks import InputRequired, TextDelta, TurnStarted
from tests.fakes.engine import engine
from tests.fakes.scripted_stack import ANSWER, Script
from tests.fakes.state import open_database
from tests.fakes.talk import talking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from a2a_state.database import Database
    from tests.fakes.engine import Engine

pytestmark = pytest.mark.anyio

ANN = Caller("ann")


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    async with open_database("sqlite://") as opened:
        yield opened


def hang() -> Script:
    """Return a script that never gets to the end of its answer."""
    return Script([TurnStarted("turn-1"), TextDelta("so far"), anyio.Event()])


async def broken_off(database: Database) -> str:
    """Run a task in a process that dies; returns its id."""
    async with engine(hang(), database) as dying:
        task = await dying.send(return_immediately=True)
        await dying.stored(task.id, "so far")
        await dying.die()
        assert dying.heard.turns == []
        return task.id


def heard(running: Engine) -> tuple[list[TaskState], list[TaskState]]:
    """Return how the tasks ended that were told of, those after a turn and those that waited."""
    turns, waits = running.heard.turns, running.heard.waits
    return [task.status.state for _, task in turns], [task.status.state for _, task in waits]


async def test_a_turn_that_ends_by_itself_is_told_of(database: Database) -> None:
    async with engine(Script(ANSWER), database) as running:
        task = await running.send()
        assert running.heard.turns == [(ANN, task)]
        assert running.heard.waits == []


async def test_a_task_that_is_given_up_after_a_crash_is_told_of(database: Database) -> None:
    task_id = await broken_off(database)
    async with engine(Script(ANSWER), database, a2a={"recovery": "fail"}) as running:
        assert await running.recovery.sweep() == 1
        assert heard(running) == ([TaskState.FAILED], [])
        assert running.heard.turns == [(ANN, await running.get(task_id))]


async def test_a_task_is_told_of_that_is_canceled_after_a_crash(database: Database) -> None:
    task_id = await broken_off(database)
    async with engine(Script(ANSWER), database) as running:
        await running.cancel(task_id)
        assert heard(running) == ([TaskState.CANCELED], [])


async def test_a_task_is_told_of_whose_process_died_before_it_could_cancel_it(
    database: Database,
) -> None:
    task_id = await broken_off(database)
    async with engine(Script(ANSWER), database) as running:
        stored = await running.state.tasks.get("ann", "", task_id)
        assert stored is not None
        await running.state.tasks.ask_to_cancel(stored.row)
        await running.recovery.sweep()
        assert heard(running) == ([TaskState.CANCELED], [])


async def test_of_a_task_that_waits_until_it_is_canceled_no_other_turn_is_told(
    database: Database,
) -> None:
    async with engine(Script([TurnStarted("t"), InputRequired("which?")]), database) as running:
        task = await running.send()
        await running.cancel(task.id)
        assert heard(running) == ([TaskState.INPUT_REQUIRED], [TaskState.CANCELED])


async def test_a_stack_that_does_not_give_up_does_not_keep_others_from_hearing_of_the_end(
    database: Database,
) -> None:
    async def stubborn(_request: Any) -> AsyncIterator[Any]:
        yield TurnStarted("turn-1")
        while not done.is_set():
            with anyio.CancelScope(shield=True):
                await done.wait()

    done = anyio.Event()
    async with engine(Script(stubborn), database) as running:  # type: ignore[arg-type] # no aclose
        running.runner.patience = 0.05
        task = await running.send(return_immediately=True)
        await running.cancel(task.id)
        assert heard(running) == ([TaskState.CANCELED], [])
        done.set()
    assert heard(running) == ([TaskState.CANCELED], [])


async def test_a_listener_that_breaks_keeps_no_other_from_hearing(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def turn_ended(self, _caller: Caller, _task: Any) -> None:
            raise RuntimeError("broken")

    async with engine(Script(ANSWER), database) as running:
        broken: Any = Broken()
        running.state = running.state._replace(listeners=(broken, running.heard))
        running.runner._state = running.state
        await running.send()
        assert heard(running) == ([TaskState.COMPLETED], [])
    assert "is not told" in caplog.text


async def test_a_task_that_waits_until_it_is_canceled_is_counted_and_has_one_transcript(
    tmp_path: Path,
) -> None:
    collection = {"transcripts_enabled": True, "transcripts_storage": str(tmp_path)}
    async with talking(
        [TurnStarted("t", model="p/m"), InputRequired("which?")], user_data_collection=collection
    ) as talk:
        task = await talk.say("hi")
        await talk.call("CancelTask", id=task["id"])
        told = (await talk.rest("GET", "/metrics")).text
        assert 'a2a_tasks_total{state="canceled"} 1.0' in told
        assert 'ls_llm_calls_total{model="m",provider="p"} 1.0' in told
    assert len(await asyncio.to_thread(lambda: list(tmp_path.rglob("*.json")))) == 1
