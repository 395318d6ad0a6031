"""Messages that go on with a task run one after another, whichever process they reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.caller import Caller
from agent.errors import TaskTaken, UnsupportedOperation
from agent.model import StatusUpdate, TaskState
from agent.stacks import FilePart, InputRequired, TextDelta, TextPart
from tests.fakes.engine import answer_of, engine, message, until
from tests.fakes.scripted_stack import DONE, Script
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from a2a_state.database import Database
    from agent.model import Task
    from agent.stacks import TurnEvent, TurnRequest
    from tests.fakes.engine import Engine

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


class Conversation:
    """A stack that asks again after each message, until it is told the last one."""

    def __init__(self) -> None:
        self.at_work = 0
        self.most_at_work = 0
        self.heard: list[str] = []

    async def turn(self, request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        """Take a moment for each message."""
        (part,) = request.parts
        assert isinstance(part, TextPart)
        self.at_work += 1
        self.most_at_work = max(self.at_work, self.most_at_work)
        yield TextDelta(part.text)
        await anyio.sleep(0.02)
        self.heard.append(part.text)
        self.at_work -= 1
        yield DONE if part.text == "last" else InputRequired("and?")


async def test_follow_ups_to_one_task_run_one_after_another(database: Database) -> None:
    conversation = Conversation()
    script = Script(conversation.turn)
    async with engine(script, database) as here, engine(script, database) as there:
        task = await here.send("first")
        answers: list[Task] = []

        async def send(running: Engine, text: str) -> None:
            answers.append(await running.send(text, task_id=task.id, message_id=text))

        async with anyio.create_task_group() as group:
            for number in range(6):
                group.start_soon(send, (here, there)[number % 2], f"m{number}")
        assert sorted(conversation.heard) == ["first", *(f"m{number}" for number in range(6))]
        assert conversation.most_at_work == 1
        assert {answer.status.state for answer in answers} == {TaskState.INPUT_REQUIRED}
        history = (await here.get(task.id)).history
        said = [m.parts[0].text for m in history if m.role.value == "ROLE_USER"]
        assert said == conversation.heard


async def test_a_follow_up_that_waited_for_a_task_that_ended_is_refused(database: Database) -> None:
    gate = anyio.Event()
    script = Script([TextDelta("a"), gate, DONE])
    async with engine(script, database) as running:
        task = await running.send(return_immediately=True)
        async with anyio.create_task_group() as group:

            async def send() -> None:
                with pytest.raises(UnsupportedOperation):
                    await running.send("more", task_id=task.id)

            group.start_soon(send)
            gate.set()
        assert len(script.requests) == 1


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_follow_up_does_not_wait_for_ever(database: Database, *, elsewhere: bool) -> None:
    script = Script([TextDelta("a"), anyio.Event()])
    limits = {"queue_seconds": 0.2}
    async with (
        engine(script, database, limits=limits) as here,
        engine(script, database, limits=limits) as there,
    ):
        task = await here.send(return_immediately=True)
        with pytest.raises(TaskTaken):
            await (there if elsewhere else here).send("more", task_id=task.id)
        assert (await here.get(task.id)).status.state is TaskState.WORKING


async def test_a_yes_that_came_before_the_question_approves_nothing(database: Database) -> None:
    """It may have been the answer to another one."""
    approval = {"approvals": [{"call_id": "c1", "tool_name": "delete", "arguments": {}}]}
    gate = anyio.Event()
    script = Script([TextDelta("a"), gate, InputRequired("Delete?", approval)], [DONE])
    async with engine(script, database) as running:
        task = await running.send(return_immediately=True)
        async with anyio.create_task_group() as group:

            async def send() -> None:
                await running.send("yes", task_id=task.id)

            group.start_soon(send)
            run = running.run_of(task.id)
            assert run is not None

            async def waits() -> bool:
                return bool(run.feed._awaiting_end)

            await until(waits)
            gate.set()
        resume = script.requests[-1].resume
        assert resume is not None
        assert resume.answers[0].approve is False


async def test_a_task_with_too_many_messages_takes_no_more(database: Database) -> None:
    """And still waits: nothing is lost."""
    script = Script([InputRequired("and?")])
    async with engine(script, database, limits={"history_messages": 3}) as running:
        task = await running.send()
        task = await running.send("more", task_id=task.id)
        with pytest.raises(UnsupportedOperation):
            await running.send("even more", task_id=task.id)
        assert await running.get(task.id) == task
        assert (await running.cancel(task.id)).status.state is TaskState.CANCELED


async def test_what_earlier_tasks_made_is_given_to_the_turn(database: Database) -> None:
    script = Script([TextDelta("the recipe"), DONE])
    async with engine(script, database) as running:
        earlier = await running.send()
        await running.send("cook it", reference_task_ids=[earlier.id])
        *given, last = script.requests[-1].parts
        assert last == TextPart("cook it")
        assert "the recipe" in str(given)
        assert earlier.id in str(given)
        assert not any(isinstance(part, FilePart) for part in given)


async def test_tasks_of_others_cannot_be_referred_to(database: Database) -> None:
    script = Script([TextDelta("secret"), DONE])
    async with engine(script, database) as running:
        theirs = await running.send()
        request = message(reference_task_ids=[theirs.id])
        with pytest.raises(Exception, match="referenceTaskIds"):
            await running.service.send(Caller("bob"), request)
        assert len(script.requests) == 1


async def test_who_comes_at_a_busy_time_waits_for_a_place(database: Database) -> None:
    """Those of one owner do not keep others waiting."""
    gate = anyio.Event()
    script = Script([TextDelta("a"), gate, DONE], [TextDelta("b"), DONE])
    limits: dict[str, Any] = {"running_tasks_per_owner": 1, "queue_seconds": 5}
    async with engine(script, database, limits=limits) as running:
        await running.send(return_immediately=True)
        answers: list[str] = []
        async with anyio.create_task_group() as group:

            async def send() -> None:
                answers.append(answer_of(await running.send("later")))

            group.start_soon(send)
            answer = await running.service.send(Caller("bob"), message("now"))
            assert answer.status.state is TaskState.COMPLETED  # type: ignore[union-attr]
            assert answers == []
            gate.set()
        assert answers == ["b"]


async def test_a_follow_up_that_is_gone_leaves_the_task_as_it_was(database: Database) -> None:
    """Its caller left while it waited for its turn."""
    script = Script([TextDelta("a"), anyio.Event()])
    async with engine(script, database) as running:
        task = await running.send(return_immediately=True)
        with anyio.move_on_after(0.05):
            await running.send("more", task_id=task.id)
        log = await running.log(task.id)
        states = [e.status.state for _, e in log if isinstance(e, StatusUpdate)]
        assert states in ([], [TaskState.WORKING])

        async def runs() -> bool:
            return running.runner.running() == [task.id]

        await until(runs)
