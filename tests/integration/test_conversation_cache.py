"""The conversation cache: what it keeps, for how long, and what happens while a database is away."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, override

import anyio
import msgspec
import pytest
from sqlalchemy import make_url, select, update

from a2a_state.conversation_cache import (
    CachedConversation,
    CachedConversations,
    CachedTask,
    CachedTurn,
    cached_turns,
)
from a2a_state.database import SqliteDatabase, connect
from a2a_state.deletion import Deletion
from a2a_state.histories import ConversationSearch
from a2a_state.tables import tasks as task_table
from agent.cache_writer import MOST_WAITING
from agent.caller import Caller
from agent.clock import now
from agent.conversation_cache import ConversationCache
from agent.errors import StateUnavailable, UnsupportedOperation
from agent.histories import Histories
from agent.model import Message, Part, Role, SendRequest, Task
from agent.removal import Removal
from agent.settings import Settings
from tests.fakes.engine import engine, until
from tests.fakes.scripted_stack import ANSWER, Script, scripted
from tests.fakes.state import open_database
from tests.fakes.talk import served, talking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sqlalchemy import Connection

    from a2a_state.database import Database
    from agent.conversation_turns import Turn
    from tests.fakes.engine import Engine

pytestmark = pytest.mark.anyio

ANN = ("ann", "")
DAY = 86_400_000


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Return an open database with all tables."""
    async with open_database(database_url) as opened:
        yield opened


def conversation(name: str = "c", at: int = 10, **changes: Any) -> CachedConversation:
    """Return a conversation of ann's."""
    kept = CachedConversation("ann", "", name, None, at)
    return msgspec.structs.replace(kept, **changes)


def turn(at: int, task_id: str = "task", number: int = 0, text: str = "") -> CachedTurn:
    """Return a turn; its body names it."""
    return CachedTurn(at, task_id, number, (text or f"{task_id}-{number}").encode())


async def put(
    cached: CachedConversations, kept: CachedConversation, *turns: CachedTurn, most: int = 100
) -> None:
    """Keep the turns of one task."""
    await cached.put([CachedTask(kept, turns[0].task_id, turns)], most)


async def said(cached: CachedConversations, name: str = "c", most: int = 1000) -> list[str] | None:
    """Return what ann said."""
    bodies = await cached.turns(*ANN, name, most)
    return None if bodies is None else [body.decode() for body in bodies]


async def test_what_a_task_says_now_takes_the_place_of_what_it_said(database: Database) -> None:
    cached = CachedConversations(database)
    await put(cached, conversation(at=10), turn(1, "a"))
    await put(cached, conversation(at=30), turn(2, "b"))
    await put(cached, conversation(at=20), turn(1, "a"), turn(3, "a", 1))
    await put(cached, conversation(at=20), turn(1, "a"), turn(3, "a", 1))
    assert await said(cached) == ["a-0", "b-0", "a-1"]
    (kept,) = await cached.latest(*ANN, 10)
    assert kept.last_message_at == 30


async def test_a_topic_that_somebody_has_set_stays(database: Database) -> None:
    cached = CachedConversations(database)
    assert not await cached.set_topic(*ANN, "c", "nothing")
    await put(cached, conversation(topic_summary="first"), turn(1))
    await put(cached, conversation(topic_summary=None), turn(1))
    assert [one.topic_summary for one in await cached.latest(*ANN, 10)] == ["first"]
    assert await cached.set_topic(*ANN, "c", "second")
    await put(cached, conversation(topic_summary="first"), turn(1))
    assert [one.topic_summary for one in await cached.latest(*ANN, 10)] == ["second"]


async def test_a_conversation_keeps_its_latest_turns(database: Database) -> None:
    cached = CachedConversations(database)
    for number in range(6):
        await put(cached, conversation(), turn(number, f"t{number}"), most=3)
    assert await said(cached) == ["t3-0", "t4-0", "t5-0"]
    many = [turn(9, "t9", number) for number in range(5)]
    await put(cached, conversation(), *many, most=3)
    assert await said(cached) == ["t9-2", "t9-3", "t9-4"]


async def test_a_long_conversation_is_read_from_where_there_is_room(database: Database) -> None:
    cached = CachedConversations(database)
    for number in range(5):
        await put(cached, conversation(), turn(number, str(number), text=str(number) * 10))
    assert await said(cached, most=25) == ["2" * 10, "3" * 10, "4" * 10]
    assert await said(cached, most=1) == ["4" * 10]


async def test_what_another_owner_or_tenant_has_is_not_touched(database: Database) -> None:
    cached = CachedConversations(database)
    for owner, tenant in (ANN, ("bob", ""), ("ann", "blue")):
        await put(cached, conversation(owner=owner, tenant=tenant), turn(1, f"{owner}{tenant}"))
    assert await cached.set_topic("bob", "", "c", "his")
    await cached.forget_task("bob", "", "c", "ann")
    assert await cached.forget("ann", "blue", "c")
    assert not await cached.forget("ann", "blue", "c")
    assert await said(cached) == ["ann-0"]
    assert await cached.turns("ann", "blue", "c", 100) is None
    assert await cached.turns("bob", "", "c", 100) == [b"bob-0"]
    assert [one.topic_summary for one in await cached.latest(*ANN, 10)] == [None]


async def test_the_latest_conversations_are_kept(database: Database) -> None:
    cached = CachedConversations(database)
    for at in range(6):
        await put(cached, conversation(f"c{at}", at), turn(at))
    assert await cached.keep_latest(4) == 2
    assert await cached.keep_latest(4) == 0
    assert await cached.forget_before(4) == 2
    latest = await cached.latest(*ANN, 10)
    assert [one.conversation_id for one in latest] == ["c5", "c4"]
    assert [one.conversation_id for one in await cached.latest(*ANN, 1)] == ["c5"]
    count = await database.read(lambda c: len(c.execute(select(cached_turns.c.task_id)).all()))
    assert count == 2


class Faulty(SqliteDatabase):
    """A database in memory that cannot be reached while ``is_away``; counts its transactions."""

    def __init__(self) -> None:
        super().__init__(make_url("sqlite://"))
        self.is_away = False
        self.refused = 0
        self.written = 0
        self.before: Callable[[], Any] | None = None

    @override
    async def write[T](self, work: Callable[[Connection], T]) -> T:
        if self.is_away:
            self.refused += 1
            raise StateUnavailable
        self.written += 1
        before, self.before = self.before, None
        if before is not None:
            await before()
        return await super().write(work)


async def done(value: bool) -> bool:
    """Return what is known already."""
    return value


class Caching:
    """An engine of which somebody copies the turns; nobody tells the cache unless a test does."""

    def __init__(self, engine: Engine, cache: ConversationCache, away: Faulty) -> None:
        self.engine = engine
        self.cache = cache
        self.away = away
        self.histories = Histories(engine.database, engine.service, Settings().limits)
        search, deletion = ConversationSearch(engine.database), Deletion(engine.database)
        self.removal = Removal(deletion, search, engine.conversations, cache)

    async def say(
        self, text: str = "hi", context_id: str | None = None, *, is_told: bool = True
    ) -> Task:
        """Have a message answered, and the cache told of it, unless it is not to be."""
        message = Message("m", Role.USER, [Part(text=text)], context_id=context_id)
        task = await self.engine.service.send(Caller("ann"), SendRequest(message))
        assert isinstance(task, Task)
        if is_told:
            self.cache.turn_ended(Caller("ann"), task)
        return task

    async def said(self, context_id: str) -> list[Turn] | None:
        """Return what the cache has."""
        assert await self.cache.is_current("ann")
        return await self.cache.turns(*ANN, context_id)


@asynccontextmanager
async def caching(
    away: Database | None = None,
    kept: Database | None = None,
    room: int = MOST_WAITING,
    **settings: Any,
) -> AsyncIterator[Caching]:
    """Run an engine with a cache beside it, in memory unless it is told where.

    ``kept`` is a state that is there already.
    """
    section = {"type": "memory", "memory": {"max_entries": 3}}
    chosen = Settings.model_validate({"conversation_cache": section} | settings)
    faulty = Faulty()
    with anyio.fail_after(20):
        async with (
            open_database("sqlite://") as fresh,
            engine(Script(ANSWER), kept or fresh) as running,
        ):
            state, where = running.database, away or faulty
            cache = ConversationCache(chosen, state, where, patience=0.5, room=room)
            try:
                await cache.open()
                yield Caching(running, cache, faulty)
            finally:
                await cache.close()


async def test_what_settles_while_the_database_is_away_is_copied_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with caching() as copying:
        copying.away.is_away = True
        task = await copying.say("kept")
        await until(lambda: done(copying.away.refused > 1))
        copying.away.is_away = False
        turns = await copying.said(task.context_id)
        assert turns is not None
        assert [one.question for one in turns] == ["kept"]
        assert caplog.text.count("waits for a database") == 1


async def test_what_waits_is_copied_in_few_transactions() -> None:
    async with caching(conversation_cache={}) as copying:
        copying.away.is_away = True
        tasks = [await copying.say(str(number)) for number in range(30)]
        before, copying.away.is_away = copying.away.written, False
        assert [len(await copying.said(task.context_id) or ()) for task in tasks] == [1] * 30
        assert copying.away.written - before < 5


async def test_more_than_is_read_at_once_is_copied_too() -> None:
    limits = {"answer_bytes": 1024}
    async with caching(conversation_cache={}, limits=limits) as copying:
        copying.away.is_away = True
        tasks = [await copying.say(text * 300) for text in "abc"]
        copying.away.is_away = False
        assert [len(await copying.said(task.context_id) or ()) for task in tasks] == [1, 1, 1]


async def test_a_task_that_cannot_be_read_keeps_no_other_from_being_copied(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with caching() as copying:
        copying.away.is_away = True
        tasks = [await copying.say(text) for text in ("one", "broken", "two")]
        spoil = update(task_table).where(task_table.c.task_id == tasks[1].id).values(body=b"{")
        await copying.engine.database.write(lambda c: c.execute(spoil))
        copying.away.is_away = False
        kept = [await copying.said(task.context_id) for task in tasks]
        assert [turns and turns[0].question for turns in kept] == ["one", None, "two"]
    assert caplog.text.count("could not be copied") == 1
    assert "1 tasks are missing" in caplog.text


async def test_what_was_lost_with_a_process_is_copied_when_the_next_one_starts(
    tmp_path: Path, database: Database
) -> None:
    url = f"sqlite:///{tmp_path / 'cache.db'}"
    async with caching(connect(make_url(url)), database, conversation_cache={}) as copying:
        first = await copying.say("first")
        assert await copying.said(first.context_id) is not None
        lost = [await copying.say(str(number), is_told=False) for number in range(120)]
        again = await copying.say("again", first.context_id, is_told=False)
    async with caching(connect(make_url(url)), database, conversation_cache={}) as copying:

        async def are_all_there() -> bool:
            kept = [await copying.said(task.context_id) for task in (*lost, again)]
            return [len(turns or ()) for turns in kept] == [*[1] * 120, 2]

        await until(are_all_there)


async def test_a_new_cache_begins_with_what_is_said_from_then_on(database: Database) -> None:
    async with caching(kept=database) as copying:
        before = await copying.say(is_told=False)
    async with caching(kept=database) as copying:
        after = await copying.say()
        assert await copying.said(after.context_id) is not None
        assert await copying.said(before.context_id) is None


async def test_what_there_is_no_room_for_is_copied_later() -> None:
    async with caching(room=2, conversation_cache={}) as copying:
        copying.away.is_away = True
        tasks = [await copying.say(str(number)) for number in range(9)]
        copying.away.is_away = False

        async def are_all_there() -> bool:
            kept = [await copying.said(task.context_id) for task in tasks]
            return all(turns is not None for turns in kept)

        await until(are_all_there)


async def test_what_is_deleted_is_not_shown_although_there_is_a_copy(tmp_path: Path) -> None:
    """As another process may have one, or one that stopped too early; it goes when a server starts."""
    settings = kept_in(tmp_path)
    async with talking(ANSWER, **settings) as talk:
        gone, kept = [(await talk.ask(text))["conversation_id"] for text in ("gone", "kept")]
        assert await talk.said(gone, "v2") == [["gone", "yes"]]
        with sqlite3.connect(tmp_path / "state.db") as state:
            state.execute("DELETE FROM contexts WHERE context_id = ?", [gone])
        path = f"/v2/conversations/{gone}"
        assert (await talk.rest("GET", path)).status_code == 404
        answer = await talk.rest("PUT", path, json={"topic_summary": "t"})
        assert answer.status_code == 404
        (listed,) = await talk.conversations("v2")
        assert listed["conversation_id"] == kept
    async with (
        talking(ANSWER, **settings) as talk,
        open_database(f"sqlite:///{tmp_path / 'cache.db'}") as database,
    ):
        cached = CachedConversations(database)

        async def is_gone() -> bool:
            return await cached.turns("00000000-0000-0000-0000-000", "", gone, 999) is None

        owners = {row.owner for row in await cached.names(("", "", ""), 9)}
        assert owners == {"00000000-0000-0000-0000-000"}
        await until(is_gone)
        assert await talk.said(kept, "v2") == [["kept", "yes"]]


async def test_a_state_that_is_new_has_nothing_deleted(tmp_path: Path) -> None:
    """Who moves it away by mistake has the cache yet, when it comes back."""
    settings, state = kept_in(tmp_path), tmp_path / "state.db"
    async with talking(ANSWER, **settings) as talk:
        context_id = (await talk.ask("hi"))["conversation_id"]
        assert await talk.said(context_id, "v2") == [["hi", "yes"]]
    state.rename(tmp_path / "moved.db")
    async with talking(ANSWER, **settings) as talk:
        assert await talk.conversations("v2") == []
    state.unlink()
    (tmp_path / "moved.db").rename(state)
    async with talking(ANSWER, **settings) as talk:
        assert len(await talk.conversations("v2")) == 1


async def test_what_the_cache_could_not_forget_in_time_goes_later(tmp_path: Path) -> None:
    """It is asked for again when there was a copy made meanwhile, and the cache is away by then."""
    async with (
        open_database(f"sqlite:///{tmp_path / 'state.db'}") as state,
        caching(kept=state) as copying,
    ):
        first, second = await copying.say("first"), await copying.say("second")
        assert await copying.said(first.context_id) is not None
        context = await copying.engine.conversations.of(Caller("ann"), first.context_id)
        await Deletion(state).context(*ANN, first.context_id)
        copying.away.is_away = True
        await copying.cache.context_deleted(context)
        assert await copying.said(first.context_id) is None
        copying.away.is_away = False
        cached = CachedConversations(copying.away)

        async def is_gone() -> bool:
            return await said(cached, first.context_id) is None

        await until(is_gone)
        assert await copying.said(second.context_id) is not None


async def test_as_long_as_the_cache_cannot_forget_nothing_is_deleted() -> None:
    async with caching() as copying:
        task = await copying.say()
        assert await copying.said(task.context_id) is not None
        copying.away.is_away = True
        with pytest.raises(StateUnavailable):
            await copying.removal.context(*ANN, task.context_id)
        with pytest.raises(StateUnavailable):
            await copying.removal.task(*ANN, task.id)
        assert (await copying.engine.get(task.id)).id == task.id
        copying.away.is_away = False
        assert await copying.said(task.context_id) is not None
        await copying.removal.context(*ANN, task.context_id)
        assert await copying.said(task.context_id) is None


async def test_what_is_not_deleted_after_all_stays_in_the_cache(database: Database) -> None:
    """A task that began meanwhile keeps its context, whose copies were deleted first."""
    async with caching(kept=database) as copying:
        task = await copying.say()
        assert await copying.said(task.context_id) is not None
        revive = update(task_table).where(task_table.c.task_id == task.id)

        async def begin() -> None:
            await database.write(lambda c: c.execute(revive.values(ended_at=None)))

        for remove, removed in (
            (copying.removal.context, task.context_id),
            (copying.removal.task, task.id),
        ):
            copying.away.before = begin
            with pytest.raises(UnsupportedOperation):
                await remove(*ANN, removed)
            turns = await copying.said(task.context_id)
            assert [turn.task_id for turn in turns or ()] == [task.id]
            await database.write(lambda c: c.execute(revive.values(ended_at=1)))


async def test_who_asks_another_process_than_the_one_that_answered_is_told_all_the_same(
    tmp_path: Path,
) -> None:
    """Here the other's copies never come: each has a cache of its own."""
    settings = {
        "a2a_state": {"sqlite": {"db_path": str(tmp_path / "state.db")}},
        "conversation_cache": {"type": "memory", "memory": {"max_entries": 3}},
    }
    script = Script(ANSWER)
    with scripted(script) as name:
        async with (
            served(script, name, **settings) as here,
            served(script, name, **settings) as there,
        ):
            context_id = (await here.ask("hi"))["conversation_id"]
            assert await there.said(context_id, "v2") == [["hi", "yes"]]
            path, topic = f"/v2/conversations/{context_id}", {"topic_summary": "t"}
            assert (await there.rest("PUT", path, json=topic)).status_code == 200
            (listed,) = await there.conversations()
            assert listed["topic_summary"] == "t"


async def test_what_waits_to_be_copied_is_read_where_it_is(tmp_path: Path) -> None:
    cache = {"type": "sqlite", "sqlite": {"db_path": str(tmp_path / "cache.db")}}
    async with talking(ANSWER, conversation_cache=cache) as talk:
        context_id = (await talk.ask("one"))["conversation_id"]
        assert await talk.said(context_id, "v2") == [["one", "yes"]]
        with sqlite3.connect(tmp_path / "cache.db", isolation_level=None) as busy:
            busy.execute("BEGIN IMMEDIATE")
            await talk.ask("two", conversation_id=context_id)
            assert await talk.said(context_id, "v2") == [["one", "yes"], ["two", "yes"]]
            busy.execute("ROLLBACK")


async def test_a_server_that_stops_copies_what_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path / 'cache.db'}"
    async with caching(connect(make_url(url))) as copying:
        tasks = [await copying.say(str(number)) for number in range(3)]
    async with open_database(url) as database:
        cached = CachedConversations(database)
        for task in tasks:
            assert len(await cached.turns(*ANN, task.context_id, 999) or ()) == 1
    assert "missing" not in caplog.text


async def test_what_cannot_be_copied_before_the_end_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with caching() as copying:
        copying.away.is_away = True
        for number in range(3):
            await copying.say(str(number))
    assert "3 tasks are missing in the conversation cache" in caplog.text


async def test_a_conversation_that_is_deleted_while_it_is_copied_is_not_in_the_cache() -> None:
    async with caching() as copying:
        first = await copying.say("first")
        assert await copying.said(first.context_id) is not None
        service = copying.engine.service

        async def delete() -> None:
            await service.delete_context(Caller("ann"), first.context_id, "")

        copying.away.before = delete
        copying.cache.turn_ended(Caller("ann"), first)
        assert await copying.said(first.context_id) is None
        assert await copying.cache.latest(*ANN) == []


async def test_a_deletion_reaches_the_cache_when_it_is_back() -> None:
    async with caching() as copying:
        task = await copying.say()
        assert await copying.said(task.context_id) is not None
        found = await copying.histories.find(Caller("ann"), task.context_id)
        context = await copying.engine.conversations.of(found.caller, task.context_id)
        copying.away.is_away = True
        await copying.engine.service.delete_context(Caller("ann"), task.context_id, "")
        await copying.cache.context_deleted(context)
        copying.away.is_away = False

        async def is_gone() -> bool:
            return await copying.said(task.context_id) is None

        await until(is_gone)


async def test_a_topic_that_is_set_while_a_task_is_copied_is_in_the_cache() -> None:
    async with caching() as copying:
        task = await copying.say()

        async def name() -> None:
            await copying.histories.set_topic(Caller("ann"), task.context_id, "Clusters")

        copying.away.before = name
        (kept,) = await copying.cache.latest(*ANN)
        assert kept.topic_summary == "Clusters"


async def test_a_cache_in_memory_keeps_as_many_conversations_as_it_may() -> None:
    async with caching() as copying:
        tasks = [await copying.say(str(number)) for number in range(5)]
        latest = await copying.cache.latest(*ANN)
        kept = [one.conversation_id for one in latest]
        assert sorted(kept) == sorted(task.context_id for task in tasks[2:])


async def test_what_is_older_than_contexts_are_kept_goes_when_a_server_starts(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'cache.db'}"
    async with open_database(url) as database:
        cached = CachedConversations(database)
        await put(cached, conversation("old", now() - 3 * DAY), turn(1))
        await put(cached, conversation("new", now() - DAY), turn(1))
    async with caching(connect(make_url(url)), retention={"contexts_days": 2}) as copying:

        async def is_gone() -> bool:
            return len(await copying.cache.latest(*ANN)) == 1

        await until(is_gone)
        (kept,) = await copying.cache.latest(*ANN)
        assert kept.conversation_id == "new"


def kept_in(tmp_path: Path) -> dict[str, Any]:
    """Return the settings of a state and a cache in files."""
    cache = {"type": "sqlite", "sqlite": {"db_path": str(tmp_path / "cache.db")}}
    state = {"sqlite": {"db_path": str(tmp_path / "state.db")}}
    return {"a2a_state": state, "conversation_cache": cache}


async def test_a_cache_in_a_file_is_there_after_a_restart(tmp_path: Path) -> None:
    """Also when the tasks are gone with the memory they were in, it can be read, renamed and deleted."""
    settings = kept_in(tmp_path) | {"a2a_state": {"memory": True}}
    async with talking(ANSWER, **settings) as talk:
        context_id = (await talk.say("hi"))["contextId"]
    async with talking(ANSWER, **settings) as talk:
        assert await talk.said(context_id, "v2") == [["hi", "yes"]]
        await talk.rest("PUT", f"/v2/conversations/{context_id}", json={"topic_summary": "t"})
    async with talking(ANSWER, **settings) as talk:
        path = f"/v2/conversations/{context_id}"
        assert await talk.conversations("v1") == []
        (shown,) = await talk.conversations("v2")
        assert shown["topic_summary"] == "t"
        assert (await talk.rest("PUT", path, json={"topic_summary": "u"})).status_code == 200
        answer = await talk.rest("DELETE", path)
        assert answer.json()["response"] == "Conversation deleted successfully"
        assert await talk.conversations("v2") == []
