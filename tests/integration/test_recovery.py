"""What becomes of tasks that nobody runs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from agent.clock import now
from agent.errors import ServerStopping
from agent.model import (
    ArtifactUpdate,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
)
from agent.recovery import ABANDONED
from agent.runner import STOPPED
from agent.stacks import InputRequired, TextDelta, TurnCompleted, TurnStarted
from tests.fakes.engine import answer_of, engine, until
from tests.fakes.scripted_stack import DONE, Script
from tests.fakes.state import entry, open_database, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio

WORKING = TaskState.WORKING.value
FAIL: dict[str, Any] = {"a2a": {"recovery": "fail"}}
RETRY: dict[str, Any] = {"a2a": {"recovery": "retry"}}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


def again() -> Script:
    """Return a script that answers in full."""
    return Script([TurnStarted("turn-2"), TextDelta("whole "), TextDelta("answer"), DONE])


def body(task_id: str) -> bytes:
    """Return a task that works."""
    return msgspec.json.encode(Task(task_id, "context", TaskStatus(TaskState.WORKING)))


async def broken_off(database: Database, *before: Any) -> tuple[str, list[tuple[int, Any]]]:
    """Run a task in a process that dies in the middle of its answer.

    Returns the task's id and what a follower had heard by then.
    """
    turn = [*before, TurnStarted("turn-1"), TextDelta("who"), TextDelta("le"), anyio.Event()]
    async with engine(Script(turn), database) as dying:
        task = await dying.send(return_immediately=True)
        await dying.stored(task.id, "whole")
        heard = await dying.log(task.id)
        await dying.die()
        return task.id, heard


async def settled(running: Any, task_id: str) -> Task:
    """Return the task when its run here has ended."""
    run = running.run_of(task_id)
    if run is not None:
        await run.feed.closed()
    task: Task = await running.get(task_id)
    return task


async def test_a_task_is_run_again_whose_process_died(database: Database) -> None:
    """A follower who comes back hears that it begins again, and ends with the whole answer."""
    task_id, heard = await broken_off(database)
    async with engine(again(), database, **RETRY) as running:
        assert await running.recovery.sweep() == 1
        follower = await running.follow(task_id, heard[-1][0])
        rest = await follower.rest()

        task = await settled(running, task_id)
        assert task.status.state is TaskState.COMPLETED
        assert answer_of(task) == "whole answer"
        first = rest[0][1]
        assert isinstance(first, StatusUpdate)
        assert first.metadata == {"recovery": {"attempt": 1}}
        pieces = [event for _, event in rest if isinstance(event, ArtifactUpdate)]
        # First as it is stored: text of the last moments may have been lost.
        assert [piece.append for piece in pieces] == [False, False, True, True]
        numbers = [seq for seq, _ in heard + rest]
        assert numbers == sorted(set(numbers))
        (request,) = running.script.requests
        assert request.parts == (
            msgspec.convert({"type": "text", "text": "hi"}, type(request.parts[0])),
        )
        assert await running.recovery.sweep() == 0


async def test_what_the_stack_knows_of_a_turn_is_taken_from_it(database: Database) -> None:
    task_id, _ = await broken_off(database)
    async with engine(Script([DONE]), database) as running:
        asked = []

        async def outcome(conversation_id: str, turn_id: str) -> TurnCompleted:
            asked.append((conversation_id, turn_id))
            return TurnCompleted("end_of_turn", "whole answer, as stored")

        running.stack.outcome = outcome  # type: ignore[method-assign] # this stack remembers
        await running.recovery.sweep()
        task = await settled(running, task_id)

        assert answer_of(task) == "whole answer, as stored"
        assert task.status.state is TaskState.COMPLETED
        assert asked == [("conversation-1", "turn-1")]
        assert running.script.requests == []


async def test_a_turn_that_the_stack_does_not_know_is_run_again(database: Database) -> None:
    task_id, _ = await broken_off(database)
    async with engine(again(), database) as running:
        await running.recovery.sweep()
        assert answer_of(await settled(running, task_id)) == "whole answer"


async def test_a_task_is_failed_with_a_reason_where_that_is_asked_for(database: Database) -> None:
    task_id, _ = await broken_off(database)
    async with engine(again(), database, **FAIL) as running:
        assert await running.recovery.sweep() == 1
        task = await running.get(task_id)
        assert task.status.state is TaskState.FAILED
        assert task.status.message is not None
        assert task.status.message.parts[0].text == ABANDONED
        assert answer_of(task) == "whole"
        assert running.script.requests == []


async def test_a_task_that_kills_its_process_is_not_run_for_ever(database: Database) -> None:
    task_id, _ = await broken_off(database)
    hang = [TurnStarted("again"), TextDelta("w"), anyio.Event()]
    for attempt in range(1, 4):
        async with engine(Script(hang), database, **RETRY) as dying:
            await dying.recovery.sweep()
            at_work = {"turn_id": "again", "recovery": {"attempt": attempt}}

            async def is_at_work(dying: Any = dying, at_work: Any = at_work) -> bool:
                return bool((await dying.get(task_id)).metadata == at_work)

            await until(is_at_work)
            await dying.die()
    async with engine(again(), database, **RETRY) as running:
        await running.recovery.sweep()
        assert (await running.get(task_id)).status.state is TaskState.FAILED


async def test_a_follow_up_is_run_again_as_the_answer_that_it_was(database: Database) -> None:
    """With what was asked, and without touching what the turn before it made."""
    ask = [TurnStarted("turn-0"), TextDelta("before"), InputRequired("which?")]
    hang = [TurnStarted("turn-1"), TextDelta("who"), anyio.Event()]
    async with engine(Script(ask, hang), database) as dying:
        task = await dying.send("first")
        await dying.send("second", task_id=task.id, message_id="m-2", return_immediately=True)

        async def has_more() -> bool:
            return len((await dying.get(task.id)).artifacts) == 2

        await until(has_more)
        await dying.die()
    async with engine(again(), database, **RETRY) as running:
        await running.recovery.sweep()
        done = await settled(running, task.id)
        texts = {one.artifact_id: one.parts[0].text for one in done.artifacts}
        assert texts == {"answer": "before", "answer-2": "whole answer"}
        (request,) = running.script.requests
        assert request.resume is not None
        assert request.resume.turn_id == "turn-0"
        assert request.message_id == "m-2"


async def test_who_was_asked_to_cancel_a_task_and_died_has_it_canceled(database: Database) -> None:
    task_id, _ = await broken_off(database)
    async with engine(again(), database, **RETRY) as running:
        stored = await running.state.tasks.get("ann", "", task_id)
        assert stored is not None
        await running.state.tasks.ask_to_cancel(stored.row)
        await running.recovery.sweep()
        assert (await running.get(task_id)).status.state is TaskState.CANCELED
        assert running.script.requests == []


async def test_a_server_that_stops_hands_its_tasks_over(database: Database) -> None:
    """Followers are told to come back; who takes the task over need not wait for the lease."""
    hang = [TurnStarted("turn-1"), TextDelta("who"), anyio.Event()]
    async with engine(Script(hang), database, **RETRY) as stopping:
        task = await stopping.send(return_immediately=True)
        await stopping.stored(task.id, "who")
        follower = await stopping.follow(task.id)
        await follower.next()
        await stopping.runner.close()
        with pytest.raises(ServerStopping):
            await follower.rest()
        with pytest.raises(ServerStopping):
            await stopping.send("more")
        assert stopping.script.closed_turns == 1
    async with engine(again(), database, **RETRY) as running:
        assert await running.recovery.sweep() == 1
        assert answer_of(await settled(running, task.id)) == "whole answer"


async def test_a_server_that_hands_nothing_over_ends_its_tasks(database: Database) -> None:
    async with engine(Script([TextDelta("a"), anyio.Event()]), database, **FAIL) as stopping:
        task = await stopping.send(return_immediately=True)
        await stopping.runner.close()
        task = await stopping.get(task.id)
        assert task.status.state is TaskState.FAILED
        assert task.status.message is not None
        assert task.status.message.parts[0].text == STOPPED


async def test_tasks_that_are_alive_are_left_alone(database: Database) -> None:
    """Also one whose process only is slow: it gave a sign of life."""
    async with engine(again(), database) as running:
        rows = [
            entry("alive", state=WORKING, body=body("alive"), lease_until=now() + 60_000),
            entry(
                "asking", state=TaskState.INPUT_REQUIRED.value, body=body("asking"), lease_until=0
            ),
        ]
        await write(running.journal, *rows)
        assert await running.recovery.sweep() == 0


async def test_a_task_that_cannot_be_read_does_not_keep_others_from_being_taken_over(
    database: Database,
) -> None:
    """It is passed over, and tried again when its next lease has run out."""
    async with engine(again(), database) as running:
        lease: dict[str, Any] = {"state": WORKING, "lease_until": now() - 1}
        await write(
            running.journal,
            entry("broken", **{**lease, "lease_until": 5}, body=b"{}"),
            entry("dead", **lease, body=body("dead")),
        )
        assert await running.recovery.sweep() == 1
        # It was stored by a version that did not keep what running it again needs.
        assert (await running.get("dead")).status.state is TaskState.FAILED


async def test_only_one_process_takes_a_task_over(database: Database) -> None:
    task_id, _ = await broken_off(database)
    async with (
        engine(again(), database, **RETRY) as one,
        engine(again(), database, **RETRY) as other,
    ):
        taken: list[int] = []
        async with anyio.create_task_group() as group:
            for running in (one, other):
                group.start_soon(_sweep, running, taken)
        assert sorted(taken) == [0, 1]
        for running in (one, other):
            await settled(running, task_id)
        log = await one.log(task_id)
        ends = [
            e
            for _, e in log
            if isinstance(e, StatusUpdate) and e.status.state is TaskState.COMPLETED
        ]
        assert len(ends) == 1


async def _sweep(running: Any, taken: list[int]) -> None:
    taken.append(await running.recovery.sweep())
