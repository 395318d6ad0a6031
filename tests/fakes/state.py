"""A database with its tables, rows to write, and somebody who writes them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
from sqlalchemy import select
from sqlalchemy.engine import make_url

from a2a_state.database import connect
from a2a_state.journal import Entry, EventRow, Journal
from a2a_state.migrate import migrate
from a2a_state.tables import task_events
from a2a_state.tasks import TaskRow
from agent.state import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from a2a_state.database import Database
    from agent.errors import AgentError
    from agent.lease import Holder
    from tests.fakes.postgres import Postgres


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """Open the database at ``url``, with all tables."""
    database = connect(make_url(url))
    try:
        await database.open()
        await migrate(database)
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def open_journal(database: Database) -> AsyncIterator[Journal]:
    """Run a journal; it has written everything when the block is left."""
    journal = Journal(database)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


def new_state(journal: Journal, holder: Holder) -> State:
    """Return what a run is given; it reads nothing."""
    nothing: Any = None
    return State(journal, nothing, nothing, holder)


def task_row(task_id: str = "task", **changes: Any) -> TaskRow:
    """Return a row of a new task of owner "ann", as its first write has it."""
    row = TaskRow(
        task_id=task_id,
        owner="ann",
        tenant="",
        context_id="context",
        state="TASK_STATE_SUBMITTED",
        turn_id=None,
        body=b"{}",
        seq=1,
        fence=1,
        lease_holder="here",
        lease_until=30_000,
        created_at=1,
        updated_at=1,
        ended_at=None,
        is_new=True,
    )
    return msgspec.structs.replace(row, **changes)


def event_row(task_id: str = "task", first: int = 1, last: int | None = None) -> EventRow:
    """Return the events ``first`` to ``last`` of a task; each is its number."""
    last = first if last is None else last
    return EventRow(task_id, first, last, msgspec.json.encode(list(range(first, last + 1))))


def entry(task_id: str = "task", first: int = 1, last: int | None = None, **changes: Any) -> Entry:
    """Return the events ``first`` to ``last``, and the row of the task as of then."""
    events = event_row(task_id, first, last)
    row = task_row(task_id, **{"seq": events.last_seq, "is_new": first == 1, **changes})
    return Entry(row, events)


class Writer:
    """Writes the entries it is given, one after another, and hears what became of each."""

    def __init__(self, *entries: Entry) -> None:
        """``entries`` are collected from the first on."""
        self.entries = list(entries)
        self.collected = 0
        self.heard: list[AgentError | None] = []
        self._more = asyncio.Event()

    def collect(self) -> Entry:
        """Hand over the next entry, or an empty one when nothing is left."""
        self.collected += 1
        return self.entries.pop(0) if self.entries else Entry()

    def written(self, entry: Entry, error: AgentError | None) -> None:
        """Remember the outcome."""
        assert entry is not None
        self.heard.append(error)
        self._more.set()

    async def hears(self, count: int = 1) -> list[AgentError | None]:
        """Wait until ``count`` outcomes are known; returns them."""
        with anyio.fail_after(5):
            while len(self.heard) < count:
                self._more.clear()
                await self._more.wait()
        return self.heard


async def write(journal: Journal, *entries: Entry) -> list[AgentError | None]:
    """Write entries one after another, each in a transaction of its own; returns what was heard."""
    writer = Writer(*entries)
    for number in range(len(entries)):
        journal.notify(writer)
        await writer.hears(number + 1)
    return writer.heard


async def event_rows(database: Database, task_id: str = "task") -> Sequence[tuple[Any, ...]]:
    """Return (first_seq, last_seq, body) of the task's log, in order."""
    query = (
        select(task_events.c.first_seq, task_events.c.last_seq, task_events.c.body)
        .where(task_events.c.task_id == task_id)
        .order_by(task_events.c.first_seq)
    )
    return [tuple(row) for row in await database.read(lambda c: c.execute(query).all())]


def cut_connections(postgres: Postgres) -> None:
    """End every connection to the databases of tests, as an administrator would."""
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'test_%'"
    )
