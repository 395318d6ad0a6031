"""What messages take of the budget for their bytes, from when they come until their run has ended."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.caller import Caller
from agent.errors import TaskTaken, TooManyTasks
from agent.model import Task, TaskState
from agent.others import QUERY
from agent.stacks import InputRequired, TextDelta, TurnStarted
from tests.fakes.engine import ANN, answer_of, engine, message, until
from tests.fakes.scripted_stack import ANSWER, DONE, Script
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database
    from tests.fakes.engine import Engine

pytestmark = pytest.mark.anyio

EACH = 1000
LIMITS: dict[str, Any] = {"running_bytes_per_owner": EACH, "running_bytes": 2 * EACH}
BOB = Caller("bob")
MESSAGE_ID = "0198a7e0-0000-7000-8000-000000000001"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


async def send(running: Engine, size: int, caller: Caller = ANN, **fields: Any) -> Task:
    """Send a message that came with so many bytes."""
    answer = await running.service.send(caller, message(**fields), size)
    assert isinstance(answer, Task)
    return answer


def held(running: Engine, owner: str = "ann") -> int:
    """Return how much of an owner's waits or runs."""
    return running.runner.budget._bytes._owned.get(owner, 0)


async def free(running: Engine) -> None:
    """Wait until nothing runs."""

    async def is_free() -> bool:
        return not running.runner.running()

    await until(is_free)


@asynccontextmanager
async def waiting(running: Engine, size: int, before: int, **fields: Any) -> AsyncIterator[None]:
    """Have ann's message wait in the block; in the end its caller leaves."""
    sending = asyncio.create_task(send(running, size, **fields))

    async def is_counted() -> bool:
        return held(running) == before + size

    await until(is_counted)
    yield
    assert not sending.done()
    sending.cancel()
    await asyncio.wait([sending])
    assert held(running) == before


async def test_a_message_counts_for_as_long_as_it_runs(database: Database) -> None:
    """Also when nobody waits for the answer; what others send is their own."""
    gate = anyio.Event()
    script = Script([TextDelta("a"), gate, DONE], ANSWER)
    async with engine(script, database, limits=LIMITS) as running:
        await send(running, EACH, return_immediately=True)
        with pytest.raises(TooManyTasks):
            await send(running, 1)
        await send(running, EACH, BOB)
        assert len(script.requests) == 2, "what was refused did not run"

        gate.set()
        await free(running)
        await send(running, EACH + 1)
        await free(running)
        assert running.runner.budget._bytes._total == 0


async def test_all_together_have_a_bound_as_well(database: Database) -> None:
    script = Script([TextDelta("a"), anyio.Event()])
    async with engine(script, database, limits=LIMITS) as running:
        for name in ("ann", "bob"):
            await send(running, EACH - 1, Caller(name), return_immediately=True)

        with pytest.raises(TooManyTasks):
            await send(running, 3, Caller("cleo"))
        await send(running, 2, Caller("cleo"), return_immediately=True)


async def test_a_stream_counts_until_its_task_has_ended(database: Database) -> None:
    gate = anyio.Event()
    script = Script([TextDelta("a"), gate, DONE])
    async with engine(script, database, limits=LIMITS) as running:
        await running.service.stream(ANN, message(), EACH)
        with pytest.raises(TooManyTasks):
            await running.service.stream(ANN, message(), 1)

        gate.set()
        await free(running)
        assert held(running) == 0


async def test_a_message_counts_while_it_waits_for_a_place(database: Database) -> None:
    script = Script([TextDelta("a"), anyio.Event()])
    limits = LIMITS | {"running_tasks": 1}
    async with engine(script, database, limits=limits) as running:
        await send(running, 1, return_immediately=True)
        async with waiting(running, EACH - 1, 1):
            with pytest.raises(TooManyTasks):
                await send(running, 1)


async def test_a_message_counts_while_it_waits_for_its_task(database: Database) -> None:
    """There is no other bound on how many do."""
    script = Script([TextDelta("a"), anyio.Event()])
    async with engine(script, database, limits=LIMITS) as running:
        task = await send(running, 1, return_immediately=True)
        async with waiting(running, EACH - 1, 1, task_id=task.id):
            with pytest.raises(TooManyTasks):
                await send(running, 1, task_id=task.id)


async def test_a_message_that_was_sent_before_counts_while_it_waits(database: Database) -> None:
    script = Script([TextDelta("a"), anyio.Event()])
    async with engine(script, database, limits=LIMITS) as running:
        await running.service.stream(ANN, message(message_id=MESSAGE_ID), 1)
        async with waiting(running, EACH - 1, 1, message_id=MESSAGE_ID):
            with pytest.raises(TooManyTasks):
                await send(running, 1, message_id=MESSAGE_ID)
        assert len(script.requests) == 1


async def test_what_is_not_taken_in_counts_no_longer(database: Database) -> None:
    script = Script([TextDelta("a"), anyio.Event()])
    limits = LIMITS | {"queue_seconds": 0}
    async with engine(script, database, limits=limits) as running:
        task = await send(running, 1, return_immediately=True)
        for _ in range(2):
            with pytest.raises(TaskTaken):
                await send(running, EACH - 1, task_id=task.id)
        await running.cancel(task.id)
        await free(running)
        assert held(running) == 0


async def test_the_task_that_a_message_goes_on_with_counts_too(database: Database) -> None:
    """It is in memory as a whole, however small the message is."""
    script = Script(
        [TextDelta("x" * EACH), InputRequired("?")],
        [InputRequired("?")],
        [TextDelta("a"), anyio.Event()],
    )
    async with engine(script, database, limits=LIMITS) as running:
        task, other = await send(running, 1), await send(running, 1)
        assert answer_of(task) == "x" * EACH
        await free(running)
        await send(running, 1, task_id=task.id, return_immediately=True)
        assert held(running) > EACH

        with pytest.raises(TooManyTasks):
            await send(running, 1, task_id=other.id)
        await running.cancel(task.id)
        await free(running)
        assert held(running) == 0
        # The other one was left as it was.
        other = await send(running, 1, task_id=other.id, return_immediately=True)
        assert other.status.state is TaskState.WORKING


async def test_tasks_that_a_message_refers_to_count_too(database: Database) -> None:
    script = Script([TextDelta("x" * EACH), DONE], [TextDelta("a"), anyio.Event()])
    async with engine(script, database, limits=LIMITS) as running:
        task = await send(running, 1)
        await free(running)
        referring: dict[str, Any] = {"reference_task_ids": [task.id], "return_immediately": True}
        first = await send(running, 1, **referring)
        assert held(running) > EACH

        with pytest.raises(TooManyTasks):
            await send(running, 1, **referring)
        await running.cancel(first.id)
        await free(running)
        assert held(running) == 0


async def test_who_acts_for_another_takes_their_own_places_and_bytes(database: Database) -> None:
    sup = Caller("sup", actions=frozenset({QUERY}))
    script = Script(
        [InputRequired("?")],
        [TextDelta("a"), anyio.Event()],
        ANSWER,
    )
    limits = LIMITS | {"running_tasks_per_owner": 1, "queue_seconds": 0}
    async with engine(script, database, limits=limits) as running:
        asking = await send(running, 1)
        await free(running)
        await send(running, 1, sup, task_id=asking.id, return_immediately=True)
        assert held(running) == 0
        assert held(running, "sup") > 1

        with pytest.raises(TooManyTasks):
            await send(running, 1, sup)
        mine = await send(running, EACH)
        assert mine.status.state is TaskState.COMPLETED
        await running.cancel(asking.id)
        await free(running)
        assert running.runner.budget._bytes._total == 0


async def test_what_is_run_again_counts_and_waits_for_room(database: Database) -> None:
    """A server that takes over from several must not hold more than one would."""
    async with engine(Script([TurnStarted("t"), anyio.Event()]), database) as dying:
        tasks = [await dying.send("x" * 600, return_immediately=True) for _ in range(2)]
        await dying.die()
    gate = anyio.Event()
    script = Script([TextDelta("a"), gate, DONE], [TextDelta("a"), DONE])
    settings: dict[str, Any] = {"limits": LIMITS, "a2a": {"recovery": "retry"}}
    async with engine(script, database, **settings) as running:
        assert await running.recovery.sweep() == 1
        assert held(running) > 600
        assert await running.recovery.sweep() == 0
        assert len(script.requests) <= 1

        gate.set()
        await free(running)
        assert await running.recovery.sweep() == 1
        await free(running)
        states = [(await running.get(task.id)).status.state for task in tasks]
        assert states == [TaskState.COMPLETED] * 2
        assert held(running) == 0
