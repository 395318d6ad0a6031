"""What could go wrong between tasks of one process, between processes, and when callers leave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest
from sqlalchemy import text, update

from a2a_state.message_keys import MessageKey, MessageKeys
from a2a_state.tables import message_keys
from a2a_state.tables import tasks as task_table
from agent.clock import now
from agent.errors import ContentTypeNotSupported, ServerStopping, TaskTaken
from agent.idempotency import Idempotency
from agent.model import StatusUpdate, TaskState
from agent.run import Run
from agent.stacks import InputRequired, TextDelta, TurnStarted
from tests.fakes.engine import ANN, answer_of, engine, message, until
from tests.fakes.scripted_stack import DONE, Script
from tests.fakes.state import open_database, open_journal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from a2a_state.database import Database
    from agent.model import Task
    from agent.stacks import TurnEvent, TurnRequest

pytestmark = pytest.mark.anyio

FOLLOW_UP_ID = "11111111-1111-4111-8111-111111111111"
OTHER_ID = "22222222-2222-4222-8222-222222222222"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_copies_of_one_follow_up_are_answered_alike(
    database: Database, *, elsewhere: bool
) -> None:
    """Not with the question that the first of them is just answering."""
    script = Script([InputRequired("which?")], [TextDelta("that"), DONE])
    async with engine(script, database) as here, engine(script, database) as there:
        asking = await here.send()
        more: dict[str, Any] = {"task_id": asking.id, "message_id": FOLLOW_UP_ID}
        heard: list[Task] = []

        async def send(running: Any) -> None:
            heard.append(await running.send("this", **more))

        async with anyio.create_task_group() as group:
            for number in range(6):
                group.start_soon(send, there if elsewhere and number % 2 else here)
        assert [task.status.state for task in heard] == [TaskState.COMPLETED] * 6
        assert len(script.requests) == 2


async def test_a_copy_of_a_follow_up_that_waits_is_not_answered_with_the_turn_before(
    database: Database,
) -> None:
    gate = anyio.Event()
    script = Script([TextDelta("a"), gate, InputRequired("which?")], [TextDelta("that"), DONE])
    async with engine(script, database) as running:
        task = await running.send(return_immediately=True)
        more: dict[str, Any] = {"task_id": task.id, "message_id": FOLLOW_UP_ID}
        heard: list[Task] = []

        async def send() -> None:
            heard.append(await running.send("this", **more))

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await anyio.sleep(0.05)
            group.start_soon(send)
            await anyio.sleep(0.05)
            gate.set()
        assert [task.status.state for task in heard] == [TaskState.COMPLETED] * 2


async def test_a_follow_up_whose_process_died_before_it_was_taken_in_is_not_lost(
    database: Database,
) -> None:
    script = Script([InputRequired("which?")], [TextDelta("that"), DONE])
    async with engine(script, database) as running:
        asking = await running.send()
        request = message("this", task_id=asking.id, message_id=FOLLOW_UP_ID)
        dead = Idempotency(running.journal, running.state.keys)
        key = dead.key(ANN, request, asking.id)
        assert key is not None
        assert await dead.claim(key) is None
        task = await running.send("this", task_id=asking.id, message_id=FOLLOW_UP_ID)
        assert task.status.state is TaskState.COMPLETED


async def test_who_waits_for_a_task_that_another_process_took_hears_its_question(
    database: Database,
) -> None:
    gate = anyio.Event()
    stalled = Script([TurnStarted("t"), TextDelta("a"), gate, TextDelta("b"), DONE])
    async with (
        engine(stalled, database) as here,
        engine(Script([InputRequired("which?")]), database, a2a={"recovery": "retry"}) as there,
    ):
        answers: list[Task] = []

        async def send() -> None:
            answers.append(await here.send())

        async with anyio.create_task_group() as group:
            group.start_soon(send)

            async def is_at_work() -> bool:
                return len(stalled.requests) == 1

            await until(is_at_work)
            await here.run_of(here.runner.running()[0]).feed.opened()  # type: ignore[union-attr]
            await database.write(lambda c: c.execute(update(task_table).values(lease_until=1)))
            assert await there.recovery.sweep() == 1
            (task_id,) = here.runner.running()

            async def asks() -> bool:
                return (await there.get(task_id)).status.state is TaskState.INPUT_REQUIRED

            await until(asks)
            gate.set()

            async def is_answered() -> bool:
                return bool(answers)

            await until(is_answered)
        assert answers[0].status.state is TaskState.INPUT_REQUIRED


async def test_a_task_that_is_canceled_while_the_server_stops_is_canceled(
    database: Database,
) -> None:
    """Its stack takes its time."""
    script = Script([TurnStarted("t"), TextDelta("a"), anyio.Event()])
    async with engine(script, database) as running:
        task = await running.send(return_immediately=True)
        await running.stored(task.id, "a")
        asked = asyncio.Event()

        async def cancel(conversation_id: str, turn_id: str) -> None:  # noqa: ARG001 - as a stack has it
            asked.set()
            await anyio.sleep_forever()

        running.stack.cancel = cancel  # type: ignore[method-assign] # this stack hangs
        async with anyio.create_task_group() as group:
            group.start_soon(running.cancel, task.id)
            await asked.wait()
            await running.runner.close()
            assert (await running.get(task.id)).status.state is TaskState.CANCELED


@pytest.mark.parametrize("begins_late", [False, True])
async def test_a_message_that_is_refused_disturbs_nobody_else_who_follows_the_task(
    database: Database, *, begins_late: bool
) -> None:
    gate = anyio.Event()
    refusal: list[Any] = [gate, ContentTypeNotSupported()]
    script = Script([InputRequired("which?")], refusal, [TextDelta("that"), DONE])
    async with engine(script, database) as running:
        asking = await running.send()
        follower = await running.follow(asking.id)
        await follower.next()
        async with anyio.create_task_group() as group:

            async def refused() -> None:
                with pytest.raises(ContentTypeNotSupported):
                    await running.send("a film", task_id=asking.id)

            async def rest() -> None:
                heard = await follower.rest()
                last = heard[-1][1]
                assert isinstance(last, StatusUpdate)
                assert last.status.state is TaskState.COMPLETED

            group.start_soon(rest)
            group.start_soon(refused)

            async def is_followed() -> bool:
                run = running.run_of(asking.id)
                return run is not None and bool(run.feed._followers)

            if begins_late:
                await until(is_followed)
            gate.set()

            async def is_over() -> bool:
                return len(script.requests) == 2 and not running.runner.running()

            await until(is_over)
            await running.send("this", task_id=asking.id)


async def test_one_task_that_does_not_give_up_keeps_no_other_from_being_canceled(
    database: Database,
) -> None:
    gate = anyio.Event()

    async def stubborn(_request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        yield TextDelta("a")
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
        yield DONE

    script = Script(stubborn, [TextDelta("a"), anyio.Event()])
    async with engine(script, database) as here, engine(Script([DONE]), database) as there:
        first = await here.send(return_immediately=True)
        second = await here.send(return_immediately=True)
        await here.stored(first.id, "a")
        await here.stored(second.id, "a")
        await here.recovery.open()
        try:
            for task_id in (first.id, second.id):
                stored = await there.state.tasks.get("ann", "", task_id)
                assert stored is not None
                await there.state.tasks.ask_to_cancel(stored.row)

            async def is_canceled() -> bool:
                return (await there.get(second.id)).status.state is TaskState.CANCELED

            with anyio.fail_after(5):
                await until(is_canceled)
        finally:
            gate.set()
            await here.recovery.close()


async def test_who_waits_for_a_place_while_the_server_stops_is_refused(
    database: Database,
) -> None:
    """It must not begin what nobody would go on with."""
    script = Script([TextDelta("a"), anyio.Event()])
    async with engine(script, database, limits={"running_tasks": 1}) as running:
        await running.send(return_immediately=True)
        async with anyio.create_task_group() as group:

            async def refused() -> None:
                with pytest.raises(ServerStopping):
                    await running.send("later", message_id=OTHER_ID)

            group.start_soon(refused)

            async def waits() -> bool:
                return bool(running.runner._admission._waiting)

            await until(waits)
            await running.runner.close()
        assert running.runner.running() == []
        assert len(script.requests) == 1


async def test_who_gave_up_waiting_takes_no_place_among_those_who_wait(
    database: Database,
) -> None:
    gate = anyio.Event()
    script = Script([TextDelta("a"), gate, DONE], [TextDelta("b"), DONE])
    limits = {"running_tasks": 1, "queue_seconds": 10}
    async with engine(script, database, limits=limits) as running:
        await running.send(return_immediately=True)
        with anyio.move_on_after(0.05):
            await running.send("too late")
        async with anyio.create_task_group() as group:

            async def send() -> None:
                assert answer_of(await running.send("later")) == "b"

            group.start_soon(send)
            await anyio.sleep(0.05)
            gate.set()


async def test_a_message_whose_caller_left_at_once_can_be_sent_again(database: Database) -> None:
    """Its key may have been on the way to the database."""
    script = Script([TextDelta("a"), DONE])
    async with engine(script, database) as running:
        for rounds in range(5):
            sending = asyncio.create_task(running.send(message_id=FOLLOW_UP_ID))
            for _ in range(rounds):
                await asyncio.sleep(0)
            sending.cancel()
            await asyncio.wait([sending])
        if not script.requests:

            async def is_forgotten() -> bool:
                key = await running.state.keys.get("ann", "", f"message:{FOLLOW_UP_ID}")
                return key is None

            await until(is_forgotten)


async def test_the_stack_is_told_of_a_turn_that_takes_too_long(database: Database) -> None:
    script = Script([TurnStarted("t"), TextDelta("a"), anyio.Event()])
    async with engine(script, database, limits={"turn_seconds": 0.1}) as running:
        told: list[str] = []

        async def cancel(conversation_id: str, turn_id: str) -> None:  # noqa: ARG001 - as a stack has it
            told.append(turn_id)

        running.stack.cancel = cancel  # type: ignore[method-assign] # this stack is told
        assert (await running.send()).status.state is TaskState.FAILED
        assert told == ["t"]


async def test_a_message_that_another_process_took_over_while_it_waited_does_not_run_twice(
    database: Database,
) -> None:
    """Who waited longer than a lease has to ask again whether the message is still its own."""
    gate = anyio.Event()
    busy = Script([TextDelta("a"), gate, DONE], [TextDelta("twice"), DONE])
    limits = {"running_tasks": 1, "queue_seconds": 10}
    async with (
        engine(busy, database, limits=limits) as here,
        engine(Script([TextDelta("once"), DONE]), database) as there,
    ):
        await here.send(return_immediately=True)
        async with anyio.create_task_group() as group:

            async def waits() -> None:
                with pytest.raises(TaskTaken):
                    await here.send("once", message_id=FOLLOW_UP_ID)

            group.start_soon(waits)

            async def is_claimed() -> bool:
                return await here.state.keys.get("ann", "", f"message:{FOLLOW_UP_ID}") is not None

            await until(is_claimed)
            assert answer_of(await there.send("once", message_id=FOLLOW_UP_ID)) == "once"
            gate.set()
        assert len(busy.requests) == 1
        again = await here.send("once", message_id=FOLLOW_UP_ID)
        assert answer_of(again) == "once"


async def test_a_message_that_waited_for_long_still_runs_when_nobody_took_it_over(
    database: Database,
) -> None:
    gate = anyio.Event()
    script = Script([TextDelta("a"), gate, DONE], [TextDelta("b"), DONE])
    limits = {"running_tasks": 1, "queue_seconds": 10}
    async with engine(script, database, limits=limits) as running:
        await running.send(return_immediately=True)
        async with anyio.create_task_group() as group:

            async def send() -> None:
                assert answer_of(await running.send(message_id=FOLLOW_UP_ID)) == "b"

            group.start_soon(send)
            await anyio.sleep(1)
            gate.set()


async def test_messages_to_one_context_that_come_at_once_all_find_their_task(
    database: Database,
) -> None:
    script = Script([InputRequired("which?")], [TextDelta("that"), DONE])
    async with engine(script, database) as running:
        asking = await running.send(context_id="c")
        heard: list[Task] = []

        async def send() -> None:
            heard.append(await running.send("this", context_id="c"))

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(send)
        assert {task.status.state for task in heard} == {TaskState.COMPLETED}
        assert len({task.id for task in heard}) == 4
        assert asking.id in {task.id for task in heard}


@pytest.mark.parametrize("has_died", [False, True])
async def test_a_message_to_a_context_whose_task_is_just_taken_waits_without_haste(
    database: Database, *, has_died: bool
) -> None:
    """The one who took it may be refused, or have died: other work goes on meanwhile."""
    script = Script([InputRequired("which?")], [TextDelta("that"), DONE])
    async with engine(script, database) as running:
        asking = await running.send(context_id="c")
        stored = await running.state.tasks.get("ann", "", asking.id)
        assert stored is not None
        row = await running.state.tasks.take(stored.row, "another", running.holder.until())
        async with anyio.create_task_group() as group:

            async def send() -> None:
                task = await running.send("this", context_id="c")
                assert task.status.state is TaskState.COMPLETED

            group.start_soon(send)
            await anyio.sleep(0.05)
            if not has_died:
                await running.state.tasks.release(row)


async def test_who_follows_a_run_that_lost_its_lease_hears_the_other_one(
    database: Database,
) -> None:
    """Also while the stack of the run that lost it says nothing; that turn is given up."""
    stalled = Script([TurnStarted("t"), TextDelta("a"), anyio.Event()])
    ending = Script([TextDelta("whole"), DONE])
    async with (
        engine(stalled, database) as here,
        engine(ending, database, a2a={"recovery": "retry"}) as there,
    ):
        task = await here.send(return_immediately=True)
        await here.stored(task.id, "a")
        follower = await here.follow(task.id)
        await database.write(lambda c: c.execute(update(task_table).values(lease_until=1)))
        assert await there.recovery.sweep() == 1
        await here.recovery.open()
        try:
            with anyio.fail_after(5):
                last = (await follower.rest())[-1][1]
            assert isinstance(last, StatusUpdate)
            assert last.status.state is TaskState.COMPLETED
            assert stalled.closed_turns == 1
        finally:
            await here.recovery.close()
        assert answer_of(await here.get(task.id)) == "whole"


async def test_a_task_that_is_handed_over_again_and_again_is_not_failed(
    database: Database,
) -> None:
    """Servers that are told to stop did not die of it."""
    hang = Script([TextDelta("a"), anyio.Event()])
    async with engine(hang, database, a2a={"recovery": "retry"}) as first:
        task = await first.send(return_immediately=True)
        await first.stored(task.id, "a")
    for _ in range(4):
        hang = Script([TextDelta("a"), anyio.Event()])
        async with engine(hang, database, a2a={"recovery": "retry"}) as next_one:
            assert await next_one.recovery.sweep() == 1
            run = next_one.run_of(task.id)
            assert run is not None
            await run.feed.opened()
    script = Script([TextDelta("whole"), DONE])
    async with engine(script, database, a2a={"recovery": "retry"}) as last:
        await last.recovery.sweep()

        async def is_done() -> bool:
            return (await last.get(task.id)).status.state is TaskState.COMPLETED

        await until(is_done)


async def test_a_task_for_which_there_is_no_place_is_given_back_as_it_was(
    database: Database,
) -> None:
    async with engine(Script([TurnStarted("t"), TextDelta("a"), anyio.Event()]), database) as dying:
        task = await dying.send(return_immediately=True)
        await dying.stored(task.id, "a")
        await dying.die()
    limits = {"running_tasks": 1, "queue_seconds": 0}
    script = Script([TextDelta("a"), anyio.Event()])
    async with engine(script, database, limits=limits) as running:

        async def outcome(conversation_id: str, turn_id: str) -> None:  # noqa: ARG001 - as a stack has it
            await running.send(return_immediately=True)

        running.stack.outcome = outcome  # type: ignore[method-assign] # somebody is faster
        assert await running.recovery.sweep() == 0
        stored = await running.state.tasks.get("ann", "", task.id)
        assert stored is not None
        assert (stored.row.lease_until, stored.row.recoveries) == (0, 0)


async def test_keys_are_written_in_one_order_by_all_processes(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Else two of them could wait for each other."""
    async with open_database(postgres_url) as opened, open_journal(opened) as journal:
        idempotency = Idempotency(journal, MessageKeys(opened))

        def key(name: str, claim: str) -> MessageKey:
            return MessageKey("ann", "", f"key:{name}", claim, "task", b"", 1)

        add = message_keys.insert()
        engine_there = opened._engine  # type: ignore[attr-defined] # a transaction that takes its time
        async with engine_there.begin() as there:
            await there.execute(add, msgspec.structs.asdict(key("a", "there")))
            async with anyio.create_task_group() as group:
                group.start_soon(idempotency.claim, key("z", "here"))
                group.start_soon(idempotency.claim, key("a", "here"))
                await _waiting_for_a_lock(opened)
                await there.execute(add, msgspec.structs.asdict(key("z", "there")))
                await there.commit()
        assert [record for record in caplog.records if record.name.startswith("a2a_state")] == []


async def _waiting_for_a_lock(database: Database) -> None:
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")

    async def is_waiting() -> bool:
        return bool(await database.read(lambda c: c.execute(query).scalar_one()))

    with anyio.fail_after(5):
        await until(is_waiting)


async def test_what_breaks_in_one_round_does_not_end_the_care_for_tasks(
    database: Database,
) -> None:
    async with engine(Script([DONE]), database) as running:
        rounds = 0
        running_before = running.runner.running

        def broken() -> list[str]:
            nonlocal rounds
            rounds += 1
            if rounds <= 2:
                raise ValueError("unforeseen")
            return running_before()

        running.runner.running = broken  # type: ignore[method-assign] # a fault of ours
        await running.recovery.open()
        try:

            async def goes_on() -> bool:
                return rounds > 5

            with anyio.fail_after(5):
                await until(goes_on)
        finally:
            await running.recovery.close()


async def test_a_follow_up_that_was_never_stored_is_not_answered_with_what_others_did(
    database: Database,
) -> None:
    """Its process lost the task before the message was part of it."""
    gate = anyio.Event()
    script = Script([InputRequired("which?")], [gate, TextDelta("that"), DONE])
    async with engine(script, database) as running:
        asking = await running.send()
        async with anyio.create_task_group() as group:

            async def send() -> None:
                with pytest.raises(TaskTaken):
                    await running.send("this", task_id=asking.id)

            group.start_soon(send)

            async def is_at_work() -> bool:
                return len(script.requests) == 2

            await until(is_at_work)
            taken = update(task_table).values(fence=task_table.c.fence + 1, lease_until=0)
            await database.write(lambda c: c.execute(taken))
            gate.set()
        assert await running.get(asking.id) == asking


async def test_a_server_that_stops_ends_what_has_not_made_its_first_step(
    database: Database,
) -> None:
    async with engine(Script([DONE], starting=anyio.Event()), database) as running:
        hold = running.runner.budget.hold("ann", 0)
        run = await running.service._messages.start(ANN, message(message_id=FOLLOW_UP_ID), hold)
        assert isinstance(run, Run)
        await running.runner.close()
        with anyio.fail_after(5):
            await run.feed.closed()
        assert await running.state.keys.get("ann", "", f"message:{FOLLOW_UP_ID}") is None


async def test_a_task_whose_stack_does_not_give_up_is_canceled_all_the_same(
    database: Database,
) -> None:
    gate = anyio.Event()

    async def stubborn(_request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        yield TextDelta("a")
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
        yield TextDelta("b")
        yield DONE

    async with engine(Script(stubborn), database) as running:
        running.runner.patience = 0.1
        task = await running.send(return_immediately=True)
        follower = await running.follow(task.id)
        await running.stored(task.id, "a")
        canceled = await running.cancel(task.id)
        assert canceled.status.state is TaskState.CANCELED
        gate.set()

        async def is_over() -> bool:
            return not running.runner.running()

        await until(is_over)
        assert await running.get(task.id) == canceled
        last = (await follower.rest())[-1][1]
        assert isinstance(last, StatusUpdate)
        assert last.status.state is TaskState.CANCELED


async def test_of_many_copies_of_a_message_whose_process_died_one_runs(
    database: Database,
) -> None:
    starting = anyio.Event()
    script = Script([TextDelta("a"), DONE], starting=starting)
    async with engine(script, database) as here, engine(script, database) as there:
        dead = Idempotency(here.journal, here.state.keys)
        key = dead.key(ANN, message("hi", message_id=FOLLOW_UP_ID), "never-made")
        assert key is not None
        assert await dead.claim(key) is None
        heard: list[Task] = []

        async def send(running: Any) -> None:
            heard.append(await running.send(message_id=FOLLOW_UP_ID))

        async with anyio.create_task_group() as group:
            for number in range(6):
                group.start_soon(send, (here, there)[number % 2])

            async def has_begun() -> bool:
                return bool(script.owners)

            await until(has_begun)
            await anyio.sleep(0.2)
            starting.set()
        assert len({task.id for task in heard}) == 1
        assert len(script.requests) == 1


async def test_who_does_not_wait_hears_of_no_end_that_is_not_stored(database: Database) -> None:
    said, stored = anyio.Event(), anyio.Event()

    async def turn(_request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        yield TextDelta("a")
        await anyio.sleep(0.02)
        try:
            yield DONE
        finally:
            said.set()

    class Slow:
        """A database that is slow with the first write, and slower with the next."""

        gates = (said, stored)
        writes = 0

        async def write(self, work: Any) -> Any:
            gate = self.gates[min(self.writes, 1)]
            self.writes += 1
            await gate.wait()
            return await database.write(work)

    async with engine(Script(turn), database) as running:
        running.journal._database = Slow()  # type: ignore[assignment] # see there
        heard: list[Task] = []

        async def send() -> None:
            heard.append(await running.send(context_id="c", return_immediately=True))

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await said.wait()
            await anyio.sleep(0.1)
            early = [(task, await running.get(task.id)) for task in heard]
            stored.set()
        assert heard
        assert all(task.status.state is known.status.state for task, known in early)


async def test_a_follow_up_whose_caller_leaves_at_any_moment_leaves_the_task_free(
    database: Database,
) -> None:
    script = Script([InputRequired("which?")])
    async with engine(script, database) as running:
        asking = await running.send()

        async def is_free() -> bool:
            stored = await running.state.tasks.get("ann", "", asking.id)
            assert stored is not None
            return stored.row.lease_until == 0 and not running.runner.running()

        for steps in range(12):
            sending = asyncio.create_task(running.send("this", task_id=asking.id))
            for _ in range(steps):
                await asyncio.sleep(0.0005)
            sending.cancel()
            await asyncio.wait([sending])
            await until(is_free)


async def test_a_follow_up_that_waited_longer_than_its_lease_does_not_run(
    database: Database,
) -> None:
    """Somebody else may have taken the task: its sender is told, and nothing runs in vain."""
    gate = anyio.Event()
    script = Script([InputRequired("which?")], [TextDelta("a"), gate, DONE], [DONE])
    limits = {"running_tasks": 1, "queue_seconds": 10}
    async with engine(script, database, limits=limits) as running:
        asking = await running.send()

        async def is_free() -> bool:
            return not running.runner.running()

        await until(is_free)
        await running.send(return_immediately=True)
        async with anyio.create_task_group() as group:

            async def send() -> None:
                with pytest.raises(TaskTaken):
                    await running.send("this", task_id=asking.id)

            group.start_soon(send)

            async def is_over() -> bool:
                stored = await running.state.tasks.get("ann", "", asking.id)
                return stored is not None and 0 < stored.row.lease_until < now()

            await until(is_over)
            gate.set()
        await until(is_free)
        assert len(script.requests) == 2
        assert (await running.send("this", task_id=asking.id)).status.state is TaskState.COMPLETED
