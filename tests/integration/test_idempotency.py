"""The same message is the same task."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.caller import Caller
from agent.errors import (
    ContentTypeNotSupported,
    InvalidParams,
    KeyReused,
    TaskNotFound,
    TooManyTasks,
)
from agent.idempotency import Idempotency
from agent.model import Message, Task, TaskState, new_task_id
from agent.stacks import DirectMessage, InputRequired, TextDelta, TextPart
from tests.fakes.engine import ANN, Events, answer_of, engine, message, until
from tests.fakes.scripted_stack import DONE, Script
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database
    from tests.fakes.engine import Engine

pytestmark = pytest.mark.anyio

ULID = "01JD3Z9K6P2Q4R6S8T0V1W3X5Y"
UUID = "6b0f8f5e-3b0a-4a52-9d5c-0c1f2a7e9b11"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


def new_id() -> str:
    return str(uuid.uuid4())


@pytest.mark.parametrize("message_id", [UUID, UUID.upper(), ULID, ULID.lower()])
async def test_a_message_sent_again_is_answered_with_its_task(
    database: Database, message_id: str
) -> None:
    """Also by another process, and while it still runs."""
    script = Script([TextDelta("a"), DONE])
    async with engine(script, database) as here, engine(script, database) as there:
        task = await here.send(message_id=message_id)
        assert await here.send(message_id=message_id) == task
        assert await there.send(message_id=message_id) == task
        assert len(script.requests) == 1


@pytest.mark.parametrize("message_id", ["m-1", "tck-0b5f8a1e", UUID[:-1], f"tck-{UUID}"])
async def test_an_id_that_need_not_be_unique_is_no_key(database: Database, message_id: str) -> None:
    async with engine(Script([TextDelta("a"), DONE]), database) as running:
        first = await running.send(message_id=message_id)
        assert (await running.send(message_id=message_id)).id != first.id


async def test_a_key_of_the_header_makes_any_message_the_same(database: Database) -> None:
    async with engine(Script([TextDelta("a"), DONE]), database) as running:
        task = await running.send(idempotency_key="order 17")
        assert await running.send(idempotency_key="order 17") == task
        assert (await running.send(idempotency_key="order 18")).id != task.id
        with pytest.raises(KeyReused):
            await running.send("other", idempotency_key="order 17")


async def test_another_message_under_the_same_id_is_refused(database: Database) -> None:
    """Whatever it is that differs; nothing of it runs."""
    message_id = new_id()
    others: list[dict[str, Any]] = [
        {"text": "other"},
        {"metadata": {"model": "other"}},
        {"context_id": "elsewhere"},
        {"accepted_output_modes": ("text/plain",)},
    ]
    async with engine(Script([TextDelta("a"), DONE]), database) as running:
        await running.send(message_id=message_id)
        for other in others:
            with pytest.raises(InvalidParams) as refused:
                await running.send(message_id=message_id, **other)
            assert refused.value.field == "message.messageId"
        assert len(running.script.requests) == 1


async def test_keys_of_others_are_not_in_the_way(database: Database) -> None:
    message_id = new_id()
    async with engine(
        Script([TextDelta("a"), DONE]), database, a2a={"tenants": ("blue",)}
    ) as running:
        ids = {(await running.send(message_id=message_id)).id}
        for caller in (Caller("bob"), Caller("ann", "blue")):
            request = message("other", message_id=message_id, tenant=caller.tenant)
            answer = await running.service.send(caller, request)
            assert isinstance(answer, Task)
            ids.add(answer.id)
        assert len(ids) == 3


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_who_sends_again_while_it_runs_waits_for_the_same_end(
    database: Database, *, elsewhere: bool
) -> None:
    gate, message_id = anyio.Event(), new_id()
    script = Script([TextDelta("a"), gate, TextDelta("b"), DONE])
    async with engine(script, database) as here, engine(script, database) as there:
        other = there if elsewhere else here
        answers: list[Task] = []

        async def send(running: Engine) -> None:
            answers.append(await running.send(message_id=message_id))

        async with anyio.create_task_group() as group:
            group.start_soon(send, here)

            async def runs() -> bool:
                return bool(script.requests)

            await until(runs)
            group.start_soon(send, other)
            streamed = Events(await other.service.stream(ANN, message(message_id=message_id)))
            gate.set()
            heard = await streamed.rest()
        assert answers[0] == answers[1]
        assert answer_of(answers[0]) == "ab"
        assert heard == await here.log(answers[0].id)
        assert len(script.requests) == 1


async def test_a_stream_asked_for_again_is_told_again(database: Database) -> None:
    """From its beginning, or after the last event that was heard."""
    message_id = new_id()
    async with engine(Script([TextDelta("a"), TextDelta("b"), DONE]), database) as running:
        request = message(message_id=message_id)
        heard = await Events(await running.service.stream(ANN, request)).rest()
        again = await Events(await running.service.stream(ANN, request)).rest()
        assert again == heard
        request = message(message_id=message_id, last_event_id=heard[2][0])
        rest = await Events(await running.service.stream(ANN, request)).rest()
        assert rest == heard[3:]


async def test_a_follow_up_sent_again_does_not_answer_twice(database: Database) -> None:
    """Its stream begins where it began, also after the task has ended."""
    message_id = new_id()
    script = Script([InputRequired("which?")], [TextDelta("that"), DONE])
    async with engine(script, database) as running:
        asking = await running.send()
        more: dict[str, Any] = {"task_id": asking.id, "message_id": message_id}
        task = await running.send("this", **more)
        assert await running.send("this", **more) == task
        heard = await Events(await running.service.stream(ANN, message("this", **more))).rest()
        first = heard[0][1]
        assert isinstance(first, Task)
        assert first.history[-1].message_id == message_id
        assert len(script.requests) == 2


async def test_a_message_instead_of_a_task_is_given_again(database: Database) -> None:
    message_id = new_id()
    script = Script([DirectMessage((TextPart("hello"),))])
    async with engine(script, database) as running:
        request = message(message_id=message_id)
        first = await running.service.send(ANN, request)
        again = await running.service.send(ANN, request)
        ((_, told),) = await Events(await running.service.stream(ANN, request)).rest()
        assert isinstance(first, Message)
        assert first == again == told
        assert len(script.requests) == 1


async def test_a_message_that_could_not_be_taken_in_can_be_sent_again(database: Database) -> None:
    message_id = new_id()
    refusing = Script([ContentTypeNotSupported()], [TextDelta("a"), DONE])
    async with engine(refusing, database) as running:
        with pytest.raises(ContentTypeNotSupported):
            await running.send(message_id=message_id)
        assert answer_of(await running.send(message_id=message_id)) == "a"
        with pytest.raises(TaskNotFound):
            await running.send(message_id=new_id(), task_id="none")


async def test_a_message_that_came_at_a_busy_time_can_be_sent_again(database: Database) -> None:
    gate, message_id = anyio.Event(), new_id()
    script = Script([TextDelta("a"), gate, DONE], [TextDelta("b"), DONE])
    limits = {"running_tasks": 1, "queue_seconds": 0}
    async with engine(script, database, limits=limits) as running:
        busy = await running.send(return_immediately=True)
        with pytest.raises(TooManyTasks):
            await running.send(message_id=message_id)
        follower = await running.follow(busy.id)
        gate.set()
        await follower.rest()

        async def is_free() -> bool:
            return not running.runner.running()

        await until(is_free)
        assert answer_of(await running.send(message_id=message_id)) == "b"


async def test_a_key_whose_process_died_before_there_was_a_task_is_taken_over(
    database: Database,
) -> None:
    message_id = new_id()
    async with engine(Script([DONE]), database) as dying:
        claimed = Idempotency(dying.journal, dying.state.keys)
        request = message(message_id=message_id, context_id="c")
        key = claimed.key(ANN, request, new_task_id())
        assert key is not None
        assert await claimed.claim(key) is None
    async with engine(Script([TextDelta("a"), DONE]), database) as running:
        task = await running.send(message_id=message_id, context_id="c")
        assert task.status.state is TaskState.COMPLETED
        assert await running.send(message_id=message_id, context_id="c") == task
