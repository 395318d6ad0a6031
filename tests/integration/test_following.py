"""Who follows a task hears all of it once and in order, wherever and whenever it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.caller import Caller
from agent.errors import InvalidParams, TaskNotFound, UnsupportedOperation
from agent.model import StatusUpdate, SubscribeRequest, Task, TaskState
from agent.stacks import InputRequired, TextDelta, TurnStarted
from tests.fakes.engine import Events, answer_of, engine, message
from tests.fakes.scripted_stack import DONE, Script
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database
    from agent.model import Event

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


def numbers(events: list[tuple[int, Event]]) -> list[int]:
    return [seq for seq, _ in events]


def state_of(event: Event) -> TaskState | None:
    return event.status.state if isinstance(event, StatusUpdate) else None


async def test_followers_hear_the_same_in_the_same_order(database: Database) -> None:
    """From the process that runs the task and from another one; one that leaves disturbs nobody."""
    gate = anyio.Event()
    script = Script([TurnStarted("t"), TextDelta("a"), gate, TextDelta("b"), TextDelta("c"), DONE])
    async with engine(script, database) as here, engine(script, database) as there:
        task = await here.send(return_immediately=True)
        await here.stored(task.id, "a")
        followers = [await one.follow(task.id) for one in (here, here, there, there)]
        firsts = [await follower.next() for follower in followers]
        leaving = await here.follow(task.id)
        await leaving.next()
        await leaving.close()
        gate.set()
        heard = [await follower.rest() for follower in followers]

        log = await here.log(task.id)
        for (seq, snapshot), rest in zip(firsts, heard, strict=True):
            assert isinstance(snapshot, Task)
            assert answer_of(snapshot) == "a"
            assert rest == [event for event in log if event[0] > seq]
        assert state_of(heard[0][-1][1]) is TaskState.COMPLETED


@pytest.mark.parametrize("ended", [True, False])
async def test_a_follower_who_comes_back_hears_the_rest(database: Database, *, ended: bool) -> None:
    """After any event, of a task that runs and of one that has ended."""
    gate = anyio.Event()
    script = Script([TurnStarted("t"), *map(TextDelta, "abcdef"), gate, DONE])
    async with engine(script, database) as running:
        task = await running.send(return_immediately=True)
        await running.stored(task.id, "abcdef")
        if ended:
            gate.set()
            whole = await (await running.follow(task.id, 0)).rest()
        followers = [await running.follow(task.id, seq) for seq in range(10)]
        gate.set()
        if not ended:
            whole = await (await running.follow(task.id, 0)).rest()
        assert numbers(whole) == list(range(1, 11))
        for seq, follower in enumerate(followers):
            assert await follower.rest() == whole[seq:]


async def test_a_task_that_has_ended_cannot_be_subscribed_to(database: Database) -> None:
    async with engine(Script([TextDelta("a"), DONE]), database) as running:
        task = await running.send()
        with pytest.raises(UnsupportedOperation):
            await running.follow(task.id)
        last = (await running.log(task.id))[-1][0]
        assert await (await running.follow(task.id, last)).rest() == []


async def test_a_number_that_no_event_can_have_is_refused(database: Database) -> None:
    async with engine(Script([TextDelta("a"), DONE]), database) as running:
        task = await running.send()
        with pytest.raises(InvalidParams):
            await running.follow(task.id, 2**62)


async def test_who_follows_a_waiting_task_hears_how_it_goes_on(database: Database) -> None:
    """Also of a follow-up that another process runs."""
    script = Script([InputRequired("which?")], [TextDelta("that"), DONE])
    async with engine(script, database) as here, engine(script, database) as there:
        task = await here.send()
        followers = [await one.follow(task.id) for one in (here, there)]
        for follower in followers:
            _, snapshot = await follower.next()
            assert isinstance(snapshot, Task)
            assert snapshot.status.state is TaskState.INPUT_REQUIRED
        await here.send("this", task_id=task.id, message_id="m-2")
        for follower in followers:
            rest = await follower.rest()
            assert state_of(rest[0][1]) is TaskState.WORKING
            assert state_of(rest[-1][1]) is TaskState.COMPLETED
            log = [event for event in await here.log(task.id) if event[0] >= rest[0][0]]
            assert rest[1:] == log[1:]


async def test_a_stream_ends_where_a_task_waits(database: Database) -> None:
    """One that is followed from an event on too, unless there is nothing new to hear."""
    async with engine(Script([TextDelta("a"), InputRequired("which?")]), database) as running:
        task = await running.send()
        rest = await (await running.follow(task.id, 2)).rest()
        assert state_of(rest[-1][1]) is TaskState.INPUT_REQUIRED


async def test_a_task_of_another_cannot_be_followed(database: Database) -> None:
    async with engine(Script([TextDelta("a"), anyio.Event()]), database) as running:
        task = await running.send(return_immediately=True)
        for caller in (Caller("bob"), Caller("ann", "other")):
            for last in (None, 1):
                request = SubscribeRequest(task.id, caller.tenant, last)
                with pytest.raises((TaskNotFound, InvalidParams)):
                    await running.service.subscribe(caller, request)


async def test_silence_is_told_of(database: Database) -> None:
    """By runs of this process and of others, and for tasks that wait."""
    script = Script([TextDelta("a"), anyio.Event()], [InputRequired("which?")])
    async with engine(script, database) as here, engine(script, database) as there:
        running = await here.send(return_immediately=True)
        waiting = await here.send()
        for one, task in ((here, running), (there, running), (here, waiting)):
            followed = await one.service.subscribe(Caller("ann"), SubscribeRequest(task.id))
            news: Any = followed.follow(Plain(), 0.05)
            heard = [await anext(news)]
            while heard[-1]:
                heard.append(await anext(news))
            await news.aclose()


class Plain:
    """Leaves events as they are."""

    version = "plain"

    def event(self, event: Event) -> Any:
        """Return the event."""
        return event


async def test_a_long_log_is_read_in_pieces(database: Database) -> None:
    gate = anyio.Event()
    deltas = [TextDelta(str(number)) for number in range(1500)]
    async with engine(Script([TurnStarted("t"), *deltas, gate, DONE]), database) as running:
        task = await running.send(return_immediately=True)
        gate.set()
        whole = await (await running.follow(task.id, 0)).rest()
        again = await (await running.follow(task.id, 0)).rest()
        assert whole == again
        assert numbers(whole) == list(range(1, len(whole) + 1))
        assert answer_of(await running.get(task.id)) == "".join(d.text for d in deltas)


async def test_the_stream_of_a_message_is_its_run(database: Database) -> None:
    async with engine(Script([TextDelta("a"), DONE]), database) as running:
        followed = await running.service.stream(Caller("ann"), message())
        heard = await Events(followed).rest()
        assert heard == await running.log(heard[0][1].id)  # type: ignore[union-attr]
