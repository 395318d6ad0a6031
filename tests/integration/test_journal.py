"""Tasks and events are written in groups, by one writer each, and nothing is lost."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from sqlalchemy import Connection, event, select

from a2a_state.contexts import Context, Contexts
from a2a_state.journal import Entry, EventRow, Journal
from a2a_state.tables import tasks
from a2a_state.tasks import TaskRow, Tasks
from agent.caller import Caller
from agent.dialects.v1_0 import Dialect1
from agent.errors import ContextNotFound, StateError, StateUnavailable, TaskTaken
from agent.lease import Holder
from agent.model import Artifact, ArtifactUpdate, Part, StatusUpdate, Task, TaskState, TaskStatus
from agent.replay import events, restore
from agent.run import Run
from agent.task_builder import TaskBuilder
from tests.fakes.state import (
    Writer,
    cut_connections,
    entry,
    event_row,
    event_rows,
    new_state,
    open_database,
    open_journal,
    task_row,
    write,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from a2a_state.database import Database
    from agent.model import Event
    from tests.fakes.postgres import Postgres

pytestmark = pytest.mark.anyio

WORKING = "TASK_STATE_WORKING"
COMPLETED: dict[str, Any] = {"state": "TASK_STATE_COMPLETED", "ended_at": 9}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Return an open database with all tables."""
    async with open_database(database_url) as opened:
        yield opened


@pytest.fixture
async def journal(database: Database) -> AsyncIterator[Journal]:
    """Return a running journal."""
    async with open_journal(database) as opened:
        yield opened


@pytest.fixture
def commits(database: Database) -> Iterator[list[int]]:
    """Return a list that grows by one with every commit."""
    seen: list[int] = []

    def count(_connection: Connection) -> None:
        seen.append(1)

    event.listen(database.sync_engine, "commit", count)
    yield seen
    event.remove(database.sync_engine, "commit", count)


async def row_of(database: Database, task_id: str = "task") -> TaskRow | None:
    """Return a row of ``tasks`` as it is stored."""
    query = select(tasks).where(tasks.c.task_id == task_id)
    row = await database.read(lambda connection: connection.execute(query).first())
    return None if row is None else TaskRow(*row)


async def test_a_new_task_is_stored_only_within_a_context_that_is_there(
    database: Database, journal: Journal
) -> None:
    there = Context("ann", "", "there", "stack", "conversation", 1)
    gone = msgspec.structs.replace(there, context_id="gone")
    await Contexts(database).add(there)

    def begun(task_id: str, context: Context) -> Entry:
        started = entry(task_id, context_id=context.context_id)
        return msgspec.structs.replace(started, within=context)

    refused = Writer(begun("refused", gone))
    stored = Writer(begun("stored", there), entry("stored", 2, context_id="there"))
    for writer in (refused, stored):
        journal.notify(writer)

    assert [type(error) for error in await refused.hears()] == [ContextNotFound]
    assert await stored.hears() == [None]
    assert await Tasks(database).get("ann", "", "refused") is None
    assert await event_rows(database, "refused") == []
    assert len(await event_rows(database, "stored")) == 1


async def test_a_task_and_its_events_are_stored_as_given(
    database: Database, journal: Journal
) -> None:
    """The fields of the structs and the columns of the tables are the same, in the same order."""
    row = task_row(
        turn_id="turn",
        body=b'{"id":"task"}',
        seq=2,
        lease_until=3,
        created_at=4,
        updated_at=5,
        ended_at=6,
    )
    context = Context("ann", "", "context", "stack", "conversation", 7)

    heard = await write(journal, Entry(row, EventRow("task", 1, 2, b"[1,2]"), context))

    assert heard == [None]
    assert await row_of(database) == msgspec.structs.replace(row, is_new=False)
    assert await event_rows(database) == [(1, 2, b"[1,2]")]
    assert await Contexts(database).get("ann", "", "context") == context


async def test_all_who_wait_are_written_with_one_commit(
    database: Database, journal: Journal, commits: list[int]
) -> None:
    writers = [Writer(entry(f"task-{number}", last=number + 1)) for number in range(150)]
    for writer in writers:
        journal.notify(writer)

    for writer in writers:
        assert await writer.hears() == [None]
    assert len(commits) == 1
    for number in (0, 63, 64, 149):
        row = await row_of(database, f"task-{number}")
        assert row == task_row(f"task-{number}", seq=number + 1, is_new=False)
        ((first, last, _),) = await event_rows(database, f"task-{number}")
        assert (first, last) == (1, number + 1)


async def test_what_queues_up_during_a_commit_is_the_next_one(
    database: Database, journal: Journal, commits: list[int]
) -> None:
    """However many tasks there are, there are as many commits as rounds."""
    writers = [
        Writer(*(entry(f"task-{number}", seq) for seq in range(1, 4))) for number in range(20)
    ]
    for seen in range(1, 4):
        for writer in writers:
            journal.notify(writer)
        for writer in writers:
            await writer.hears(seen)

    assert len(commits) == 3
    assert await event_rows(database, "task-7") == [(1, 1, b"[1]"), (2, 2, b"[2]"), (3, 3, b"[3]")]


async def test_a_task_is_asked_once_however_often_it_called(journal: Journal) -> None:
    """Of several states of a task only the latest is written."""
    writer = Writer(entry(last=5))
    for _ in range(5):
        journal.notify(writer)

    assert await writer.hears() == [None]
    assert writer.collected == 1


async def test_events_alone_leave_the_row_as_it_is(database: Database, journal: Journal) -> None:
    """A thousand pieces of text cost no rewriting of the task."""
    heard = await write(journal, entry(), Entry(events=event_row(first=2, last=999)))

    assert heard == [None, None]
    row = await row_of(database)
    assert row is not None
    assert row.seq == 1
    assert [found[:2] for found in await event_rows(database)] == [(1, 1), (2, 999)]


async def test_having_nothing_to_write_is_no_error(journal: Journal) -> None:
    assert await write(journal, Entry()) == [None]


async def test_only_what_changes_is_overwritten(database: Database, journal: Journal) -> None:
    """Owner, context and the time of creation stand from the first write on."""
    later = entry(
        first=2,
        owner="bob",
        tenant="other",
        context_id="other",
        created_at=99,
        state=WORKING,
        turn_id="turn",
        body=b"{2}",
        lease_until=31_000,
        updated_at=2,
    )

    assert await write(journal, entry(), later) == [None, None]

    stored = await row_of(database)
    assert stored == task_row(
        seq=2,
        state=WORKING,
        turn_id="turn",
        body=b"{2}",
        lease_until=31_000,
        updated_at=2,
        is_new=False,
    )


@pytest.mark.parametrize("fence", [1, 3], ids=["lower", "higher"])
async def test_a_writer_with_another_fence_changes_nothing(
    database: Database, journal: Journal, fence: int
) -> None:
    await write(journal, entry(fence=2))
    before = await row_of(database)

    heard = await write(journal, entry(first=2, fence=fence, state=WORKING))

    assert [type(error) for error in heard] == [TaskTaken]
    assert await row_of(database) == before
    assert await event_rows(database) == [(1, 1, b"[1]")]


async def test_a_late_writer_disturbs_nobody_in_its_group(
    database: Database, journal: Journal, commits: list[int]
) -> None:
    await write(journal, entry("lost", fence=2), entry("kept"))
    commits.clear()
    late, right = Writer(entry("lost", 2, fence=1)), Writer(entry("kept", 2, state=WORKING))
    journal.notify(late)
    journal.notify(right)

    assert [type(error) for error in await late.hears()] == [TaskTaken]
    assert await right.hears() == [None]
    assert len(commits) == 1
    assert len(await event_rows(database, "kept")) == 2
    assert len(await event_rows(database, "lost")) == 1


async def test_nothing_is_written_after_the_end(database: Database, journal: Journal) -> None:
    await write(journal, entry(), entry(first=2, **COMPLETED))
    before = await row_of(database)

    heard = await write(
        journal,
        entry(first=3, state="TASK_STATE_CANCELED", ended_at=10),
        entry(first=3, state=WORKING),
    )

    assert [type(error) for error in heard] == [TaskTaken, TaskTaken]
    assert await row_of(database) == before
    assert len(await event_rows(database)) == 2


async def test_a_late_writer_does_not_spoil_the_group_of_the_right_one(
    database: Database, journal: Journal
) -> None:
    """Both write the same task, in the same transaction."""
    await write(journal, entry(fence=2))
    late, right = Writer(entry(first=2, fence=1)), Writer(entry(first=2, last=3, fence=2))
    journal.notify(late)
    journal.notify(right)

    assert [type(error) for error in await late.hears()] == [TaskTaken]
    assert await right.hears() == [None]
    assert await event_rows(database) == [(1, 1, b"[1]"), (2, 3, b"[2,3]")]


async def test_an_entry_that_cannot_be_stored_fails_alone(
    database: Database, journal: Journal
) -> None:
    """Here: events of a task that does not exist, and a task of nobody."""
    good = [Writer(entry(f"task-{number}")) for number in range(3)]
    orphan = Writer(Entry(events=event_row("nobody")))
    nobodys = Writer(entry("nobodys", owner=None))
    for writer in (good[0], orphan, good[1], nobodys, good[2]):
        journal.notify(writer)

    assert [await writer.hears() for writer in good] == [[None]] * 3
    assert [type(error) for error in await orphan.hears()] == [TaskTaken]
    assert [type(error) for error in await nobodys.hears()] == [StateError]
    for number in range(3):
        assert await event_rows(database, f"task-{number}") == [(1, 1, b"[1]")]
    assert await row_of(database, "nobodys") is None


@pytest.mark.parametrize("text", ["\ud83d", "a\0b"], ids=["half a surrogate pair", "NUL"])
async def test_text_that_a_database_does_not_take_fails_alone(
    database: Database, journal: Journal, text: str
) -> None:
    good, bad = Writer(entry("good")), Writer(entry("bad", context_id=text))
    journal.notify(bad)
    journal.notify(good)

    assert await good.hears() == [None]
    assert len(await event_rows(database, "good")) == 1
    # SQLite takes NUL.
    stored = database.dialect == "sqlite" and text == "a\0b"
    assert [type(error) for error in await bad.hears()] == [type(None) if stored else StateError]
    assert len(await event_rows(database, "bad")) == stored


async def test_what_nobody_expected_fails_alone_and_stops_nobody(
    database: Database, journal: Journal
) -> None:
    """Here: a row of another table, which is a fault in a program."""
    fault: Any = event_row()
    good, wrong = Writer(entry("good")), Writer(Entry(fault))
    for writer in (wrong, good):
        journal.notify(writer)

    assert await good.hears() == [None]
    assert [type(error) for error in await wrong.hears()] == [StateError]
    assert len(await event_rows(database, "good")) == 1


async def test_the_journal_goes_on_after_an_error(database: Database, journal: Journal) -> None:
    heard = await write(journal, entry("nobodys", owner=None), entry())

    assert [type(error) for error in heard] == [StateError, type(None)]
    assert await row_of(database) is not None


async def test_closing_writes_what_waits(database: Database, commits: list[int]) -> None:
    writers = [Writer(entry(f"task-{number}")) for number in range(3)]
    journal = Journal(database)
    await journal.open()
    for writer in writers:
        journal.notify(writer)

    with anyio.fail_after(5):
        await journal.close()

    assert [writer.heard for writer in writers] == [[None]] * 3
    assert len(commits) == 1


async def test_closing_writes_what_comes_of_the_last_write(database: Database) -> None:
    """Who hears of a commit and then has more to write is still heard."""
    journal = Journal(database)

    class Eager(Writer):
        def written(self, entry: Entry, error: Any) -> None:
            super().written(entry, error)
            if self.entries:
                journal.notify(self)

    writer = Eager(*(entry(first=seq) for seq in range(1, 5)))
    await journal.open()
    journal.notify(writer)
    with anyio.fail_after(5):
        await journal.close()

    assert writer.heard == [None] * 4
    assert len(await event_rows(database)) == 4


async def test_an_idle_journal_closes(database: Database) -> None:
    journal = Journal(database)
    await journal.open()

    with anyio.fail_after(5):
        await journal.close()


@pytest.fixture
def tried_again(caplog: pytest.LogCaptureFixture) -> Callable[[], bool]:
    """Return whether the journal has said that it tries again."""
    caplog.set_level(logging.WARNING, logger="a2a_state.journal")
    return lambda: any("trying again" in record.message for record in caplog.records)


async def test_what_a_locked_file_refuses_is_written_when_it_is_free(
    tmp_path: Path, tried_again: Callable[[], bool]
) -> None:
    path = tmp_path / "state.db"
    async with open_database(f"sqlite:///{path}") as database, open_journal(database) as journal:
        await database.write(lambda c: c.exec_driver_sql("PRAGMA busy_timeout=1"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        writers = [Writer(entry(f"task-{number}")) for number in range(3)]
        for writer in writers:
            journal.notify(writer)
        with anyio.fail_after(5):
            while not tried_again():
                await anyio.lowlevel.checkpoint()
            assert [writer.heard for writer in writers] == [[]] * 3

            other.close()

            assert [await writer.hears() for writer in writers] == [[None]] * 3
        assert len(await event_rows(database, "task-2")) == 1


async def test_what_postgresql_loses_with_its_connections_is_written_again(
    postgres: Postgres, postgres_url: str, tried_again: Callable[[], bool]
) -> None:
    async with open_database(postgres_url) as database, open_journal(database) as journal:
        assert await write(journal, entry()) == [None]
        cut_connections(postgres)

        with anyio.fail_after(5):
            assert await write(journal, entry(first=2), entry(first=3)) == [None, None]

        assert tried_again()
        assert [row[:2] for row in await event_rows(database)] == [(1, 1), (2, 2), (3, 3)]


def text(value: str) -> ArtifactUpdate:
    """Return a piece of the answer."""
    return ArtifactUpdate("task", "context", Artifact("answer", [Part(text=value)]), append=True)


async def run_tasks(
    database: Database,
    journal: Journal,
    count: int,
    on_the_way: Callable[[int, Run], Awaitable[None]],
) -> None:
    """Run tasks at once, each with a hundred events; all of it must be found again."""
    caller, holder = Caller("ann", ""), Holder()
    tasks = [Task(f"task-{n}", "context", TaskStatus(TaskState.SUBMITTED)) for n in range(count)]
    runs = [Run(new_state(journal, holder), caller, task) for task in tasks]
    heard: dict[str, list[tuple[int | None, bytes]]] = {run.task_id: [] for run in runs}

    async def follow(run: Run) -> None:
        async with aclosing(run.feed.follow(Dialect1(), 60)) as news:
            async for some in news:
                heard[run.task_id].extend(some)

    async with anyio.create_task_group() as followers:
        for run in runs:
            followers.start_soon(follow, run)
            run.begin()
        for number in range(100):
            for run in runs:
                working = StatusUpdate(run.task_id, "context", TaskStatus(TaskState.WORKING))
                run.publish(working if number % 30 == 7 else text(f"{number} "))
            await on_the_way(number, runs[number % count])
        for run in runs:
            end = TaskStatus(TaskState.COMPLETED)
            run.publish(StatusUpdate(run.task_id, "context", end, {"k": 1}))
            await run.finish()
            await run.feed.ended()

    for run in runs:
        log = await logged(database, run.task_id)
        assert [seq for seq, _ in log] == list(range(1, 103))
        assert heard[run.task_id] == [(seq, Dialect1().event(event)) for seq, event in log]
        found = await Tasks(database).get("ann", "", run.task_id)
        assert found is not None
        assert restore(found) == run.task()


async def logged(database: Database, task_id: str) -> list[tuple[int, Event]]:
    """Return the events of a task with their numbers."""
    rows = await event_rows(database, task_id)
    return [pair for first, _, body in rows for pair in enumerate(events(body), start=first)]


async def test_every_event_of_many_tasks_is_found_again(
    database: Database, journal: Journal
) -> None:
    """In order, without a gap, at any moment; and it is what followers heard."""

    async def check(number: int, run: Run) -> None:
        found = await Tasks(database).get("ann", "", run.task_id) if number % 7 == 0 else None
        if found is None:
            return
        log = await logged(database, run.task_id)
        assert isinstance(log[0][1], Task)
        builder = TaskBuilder(log[0][1])
        for _, happened in log[1 : found.last_seq]:
            builder.apply(happened)
        assert restore(found) == builder.task()

    with anyio.fail_after(10):
        await run_tasks(database, journal, 5, check)


async def test_no_event_is_lost_with_a_connection(
    postgres: Postgres, postgres_url: str, tried_again: Callable[[], bool]
) -> None:
    async def cut_once(number: int, _run: Run) -> None:
        await anyio.lowlevel.checkpoint()
        if number == 50:
            cut_connections(postgres)

    async with open_database(postgres_url) as database, open_journal(database) as journal:
        with anyio.fail_after(10):
            await run_tasks(database, journal, 3, cut_once)

    assert tried_again()


class Unsure:
    """A database whose next answer is lost, after or before the commit."""

    def __init__(self, database: Database, *, committed: bool) -> None:
        """Pass everything on to ``database``."""
        self._database = database
        self._committed = committed
        self.losses = 1

    def __getattr__(self, name: str) -> Any:
        """Everything but ``write`` is the database's."""
        return getattr(self._database, name)

    async def write(self, work: Callable[[Connection], Any]) -> Any:
        """Commit, or not, and lose the answer."""
        if not self.losses:
            return await self._database.write(work)
        self.losses -= 1
        if self._committed:
            await self._database.write(work)
        raise StateUnavailable


@pytest.mark.parametrize("committed", [False, True], ids=["before", "after"])
async def test_a_connection_lost_before_or_after_the_commit_loses_nothing(
    database: Database,
    committed: bool,
) -> None:
    """Nobody can tell which: the group is written again, and that is no conflict."""
    unsure: Any = Unsure(database, committed=committed)
    async with open_journal(unsure) as journal:
        writers = [Writer(entry(f"task-{number}", last=3)) for number in range(2)]
        for writer in writers:
            journal.notify(writer)
        with anyio.fail_after(5):
            assert [await writer.hears() for writer in writers] == [[None]] * 2

    assert await event_rows(database, "task-1") == [(1, 3, b"[1,2,3]")]


async def test_a_source_that_cannot_say_what_it_has_disturbs_nobody(database: Database) -> None:
    class Broken(Writer):
        def collect(self) -> Entry:
            raise UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "surrogates not allowed")

    broken, good = Broken(), Writer(entry())
    async with open_journal(database) as journal:
        journal.notify(broken)
        journal.notify(good)

    assert good.heard == [None]
    assert [type(error) for error in broken.heard] == [StateError]
    assert len(await event_rows(database)) == 1
