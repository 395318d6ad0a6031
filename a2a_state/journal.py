"""Writing tasks and their events, in groups.

One coroutine writes: its next transaction takes everything that queued up during the last one, so
that under load a commit, and the statements in it, are shared by all tasks that run. Of several
states of one task only the latest is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

import msgspec
from sqlalchemy import bindparam, select

from a2a_state.contexts import grow, missing
from a2a_state.prepared import prepare
from a2a_state.tables import contexts, message_keys, task_events, tasks
from agent.errors import AgentError, ContextNotFound, StateError, StateUnavailable, TaskTaken

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

    from a2a_state.contexts import Context, Grown
    from a2a_state.database import Database
    from a2a_state.message_keys import MessageKey
    from a2a_state.tasks import TaskRow

    type Insert = PostgresInsert | SqliteInsert
    type Group = list[tuple[Source, Entry]]
    type Lost = dict[int, type[AgentError]]

logger = logging.getLogger(__name__)

_CHANGING = (
    "state",
    "turn_id",
    "body",
    "seq",
    "lease_until",
    "updated_at",
    "ended_at",
    "request",
    "model",
    "messages",
)

# Built once: building a statement costs more than running it.
_STANDING = (
    select(tasks.c.task_id, tasks.c.fence, tasks.c.seq, tasks.c.ended_at)
    .where(tasks.c.task_id.in_(bindparam("ids", expanding=True)))
    .order_by(tasks.c.task_id)
    # Nothing may change between this look and the writing.
    .with_for_update()
)
# Owner and tenant are named: the index begins with them.
_CLAIMED = select(message_keys.c.key, message_keys.c.claim).where(
    message_keys.c.owner == bindparam("owner"),
    message_keys.c.tenant == bindparam("tenant"),
    message_keys.c.key.in_(bindparam("keys", expanding=True)),
)

GATHER_ROUNDS = 16
"""Most rounds of the event loop that a group is gathered for."""

RETRY_DELAYS = (0.05, 0.2, 1.0, 4.0)
"""Seconds between tries while the database cannot be reached."""


class EventRow(msgspec.Struct, frozen=True):
    """Consecutive events of one task: ``body`` is a JSON array of A2A 1.0 stream responses."""

    task_id: str
    first_seq: int
    last_seq: int
    body: bytes
    # Not a column: what the writer's lease has.
    fence: int = 1


class Entry(msgspec.Struct, frozen=True):
    """What one source has to write: any of a task's row, its next events, a context and a message's key.

    ``grown`` is how the conversation of a context grew, which is there by then. A new task is only stored
    ``within`` a context that is there.
    """

    task: TaskRow | None = None
    events: EventRow | None = None
    context: Context | None = None
    key: MessageKey | None = None
    grown: Grown | None = None
    within: Context | None = None

    @property
    def changes_task(self) -> str | None:
        """The id of the task that must be there already, and still be the writer's."""
        if self.task is not None:
            return None if self.task.is_new else self.task.task_id
        return None if self.events is None else self.events.task_id


class Source(Protocol):
    """Somebody with something to write."""

    def collect(self) -> Entry:
        """Return everything that there is to write by now."""

    def written(self, entry: Entry, error: AgentError | None) -> None:
        """Hear what became of it.

        ``TaskTaken``: the task has ended or another process has it, or the key was there before.
        ``ContextNotFound``: the context of a new task is not there.
        ``StateError``: the database refused.
        """


class Journal:
    """The one writer of tasks and events in this process."""

    def __init__(self, database: Database) -> None:
        """Prepare the statements; nothing runs before ``open``."""
        self._database = database
        # A dict for its order: who came first is written first.
        self._waiting: dict[Source, None] = {}
        self._wake = asyncio.Event()
        self._closing = False
        self._save_tasks = prepare(database, _upsert(database))
        # A commit whose answer was lost is tried again, and meets its own events.
        self._add_events = prepare(database, database.insert(task_events).on_conflict_do_nothing())
        self._add_contexts = prepare(database, database.insert(contexts).on_conflict_do_nothing())
        self._add_keys = prepare(database, database.insert(message_keys).on_conflict_do_nothing())

    async def open(self) -> None:
        """Start the writer."""
        self._writer = asyncio.create_task(self._write(), name="journal")

    async def close(self) -> None:
        """Write what is waiting, then stop."""
        self._closing = True
        self._wake.set()
        await self._writer

    def notify(self, source: Source) -> None:
        """Let ``source`` be asked, with the next group, what it has to write."""
        self._waiting[source] = None
        self._wake.set()

    async def _write(self) -> None:
        while not (self._closing and not self._waiting):
            await self._wake.wait()
            await self._gather()
            self._wake.clear()
            sources, self._waiting = self._waiting, {}
            if group := [entry for source in sources if (entry := _collected(source))]:
                await self._commit(group)

    async def _gather(self) -> None:
        """Let whoever is ready to run join the group, as long as anybody does."""
        for _ in range(GATHER_ROUNDS):
            joined = len(self._waiting)
            await asyncio.sleep(0)
            if len(self._waiting) == joined:
                return

    async def _commit(self, group: Group) -> None:
        try:
            lost = await self._try([entry for _, entry in group])
        except AgentError as exc:
            await self._failed(group, exc)
        except Exception:
            # Nobody else writes: whatever is wrong with a group, the writer goes on.
            logger.exception("A group could not be written")
            await self._failed(group, StateError())
        else:
            for index, (source, entry) in enumerate(group):
                reason = lost.get(index)
                source.written(entry, None if reason is None else reason())

    async def _failed(self, group: Group, error: AgentError) -> None:
        if len(group) == 1 or isinstance(error, StateUnavailable):
            for source, entry in group:
                source.written(entry, error)
        else:
            # One entry spoils the group: alone it fails alone.
            for one in group:
                await self._commit([one])

    async def _try(self, group: list[Entry]) -> Lost:
        """Commit a group; returns the places of entries that could not be written, and why."""
        for delay in RETRY_DELAYS:
            try:
                return await self._database.write(lambda c: self._save(c, group))
            except StateUnavailable:
                logger.warning("The state database cannot be reached; trying again", exc_info=True)
                await asyncio.sleep(delay)
        return await self._database.write(lambda c: self._save(c, group))

    def _save(self, connection: Connection, group: list[Entry]) -> Lost:
        lost = dict.fromkeys(_lost(connection, group), TaskTaken) | _outside(connection, group)
        kept = [entry for index, entry in enumerate(group) if index not in lost]
        self._add_contexts(connection, [e.context for e in group if e.context])
        grow(connection, [e.grown for e in kept if e.grown])
        self._save_tasks(connection, [e.task for e in kept if e.task])
        self._add_events(connection, [e.events for e in kept if e.events])
        # In order, as tasks are locked: two processes never wait for each other.
        keys = [e.key for e in group if e.key]
        self._add_keys(connection, sorted(keys, key=lambda key: (key.owner, key.tenant, key.key)))
        return dict.fromkeys(_known(connection, group), TaskTaken) | lost


def _collected(source: Source) -> tuple[Source, Entry] | None:
    try:
        return source, source.collect()
    except Exception:
        # Whatever is wrong with one source, the others must be written.
        logger.exception("What is to be written could not be collected")
        source.written(Entry(), StateError())
        return None


def _upsert(database: Database) -> Insert:
    added = database.insert(tasks)
    return added.on_conflict_do_update(
        index_elements=[tasks.c.task_id],
        set_={name: added.excluded[name] for name in _CHANGING},
        # One writer, and one end: a late or foreign writer changes nothing.
        where=(tasks.c.fence == added.excluded.fence) & tasks.c.ended_at.is_(None),
    )


def _lost(connection: Connection, group: list[Entry]) -> set[int]:
    """Return the places of entries whose task is not theirs to write: taken, ended or deleted meanwhile."""
    changed = {index: entry for index, entry in enumerate(group) if entry.changes_task is not None}
    if not changed:
        return set()
    ids = list({entry.changes_task for entry in changed.values()})
    found = connection.execute(_STANDING, {"ids": ids})
    standing = {task_id: (fence, seq, ended_at) for task_id, fence, seq, ended_at in found}
    return {
        index
        for index, entry in changed.items()
        if not _may_write(entry, standing.get(str(entry.changes_task)))
    }


def _outside(connection: Connection, group: list[Entry]) -> Lost:
    """Return the places of new tasks whose contexts are not there."""
    begun = {
        index: entry.within
        for index, entry in enumerate(group)
        if entry.within is not None and entry.task is not None and entry.task.is_new
    }
    gone = missing(connection, begun.values())
    return {index: ContextNotFound for index, context in begun.items() if context in gone}


def _may_write(entry: Entry, standing: tuple[int, int, int | None] | None) -> bool:
    if standing is None:
        return False
    fence, seq, ended_at = standing
    if entry.task is None:
        return entry.events is not None and fence == entry.events.fence and ended_at is None
    # A commit whose answer was lost is tried again, and finds itself.
    return fence == entry.task.fence and (ended_at is None or seq == entry.task.seq)


def _known(connection: Connection, group: list[Entry]) -> set[int]:
    """Return the places of entries whose key another message has."""
    added = {index: entry.key for index, entry in enumerate(group) if entry.key is not None}
    if not added:
        return set()
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for key in added.values():
        names[key.owner, key.tenant].add(key.key)
    standing: dict[tuple[str, str, str], str] = {}
    for (owner, tenant), keys in names.items():
        these = {"owner": owner, "tenant": tenant, "keys": list(keys)}
        found = connection.execute(_CLAIMED, these)
        standing |= {(owner, tenant, key): claim for key, claim in found}
    return {
        index
        for index, key in added.items()
        if standing.get((key.owner, key.tenant, key.key)) != key.claim
    }
