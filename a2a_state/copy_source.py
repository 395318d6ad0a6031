"""Tasks of all owners, read for somebody who copies them: many at a time."""

from __future__ import annotations

from collections import defaultdict
from itertools import batched
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import and_, false, func, or_, select, tuple_

from a2a_state.contexts import Context
from a2a_state.histories import ContextKey, TaskBody
from a2a_state.tables import contexts, tasks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection

    from a2a_state.database import Database


CHUNK = 500
"""Conversations that one statement looks for."""


class TaskKey(NamedTuple):
    """Which task, and where it belongs."""

    context: ContextKey
    task_id: str


class Called(NamedTuple):
    """A conversation, by the name that it has for its owner."""

    owner: str
    tenant: str
    conversation_id: str


class Standing(NamedTuple):
    """What there is: contexts, and tasks with their sizes in bytes."""

    contexts: Mapping[ContextKey, Context]
    sizes: Mapping[str, int]


_TASK = tuple_(tasks.c.owner, tasks.c.tenant, tasks.c.context_id, tasks.c.task_id)


class CopySource:
    """What is to be copied; whoever asks names whose it is."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def standing(self, wanted: Collection[ContextKey], keys: Collection[TaskKey]) -> Standing:
        """Return which of these contexts and tasks are there."""
        # SQLite finds these by the key, and would look at all rows for a list of tuples.
        found = select(contexts).where(or_(false(), *(_is(key) for key in wanted)))
        sizes = select(tasks.c.task_id, func.length(tasks.c.body)).where(*_these(keys))

        def work(connection: Connection) -> Standing:
            rows = [Context(*row) for row in connection.execute(found)] if wanted else []
            there = {ContextKey(row.owner, row.tenant, row.context_id): row for row in rows}
            return Standing(there, dict(map(tuple, connection.execute(sizes) if keys else ())))

        return await self._database.read(work)

    async def bodies(self, keys: Collection[TaskKey]) -> Mapping[str, TaskBody]:
        """Return tasks as they are stored, by their ids."""
        found = select(tasks.c.task_id, tasks.c.created_at, tasks.c.body).where(*_these(keys))
        rows = await self._database.read(lambda c: [TaskBody(*row) for row in c.execute(found)])
        return {row.task_id: row for row in rows}

    async def settled(
        self, states: Collection[str], after: str, most: int
    ) -> tuple[list[TaskKey], str | None]:
        """Return those of the next tasks that are in one of the states, and where to go on; None: nowhere.

        The order is that of their ids, which begin with the time.
        """
        place = (tasks.c.owner, tasks.c.tenant, tasks.c.context_id, tasks.c.task_id)
        next_ones = (
            select(*place, tasks.c.state)
            .where(tasks.c.task_id > after)
            .order_by(tasks.c.task_id)
            .limit(most)
        )
        rows = await self._database.read(lambda c: c.execute(next_ones).all())
        found = [TaskKey(ContextKey(*row[:3]), row[3]) for row in rows if row[4] in states]
        return found, rows[-1][3] if len(rows) == most else None

    async def called(self, names: Collection[Called]) -> Collection[Called]:
        """Return those of the conversations that there are."""
        by_owner: dict[tuple[str, str], list[str]] = defaultdict(list)
        for owner, tenant, conversation_id in names:
            by_owner[owner, tenant].append(conversation_id)

        def work(connection: Connection) -> Collection[Called]:
            return {
                Called(owner, tenant, name)
                for (owner, tenant), ids in by_owner.items()
                for some in batched(ids, CHUNK)
                for name in _names(connection, owner, tenant, some)
            }

        return await self._database.read(work)

    async def is_empty(self) -> bool:
        """Return whether there never was a conversation, as far as can be told."""
        first = select(contexts.c.owner).limit(1)
        return await self._database.read(lambda c: c.execute(first).first()) is None


def _names(connection: Connection, owner: str, tenant: str, names: Sequence[str]) -> Iterator[str]:
    for column in (contexts.c.context_id, contexts.c.public_id):
        yield from connection.execute(
            select(column).where(
                contexts.c.owner == owner, contexts.c.tenant == tenant, column.in_(names)
            )
        ).scalars()


def _is(key: ContextKey) -> ColumnElement[bool]:
    return and_(
        contexts.c.owner == key.owner,
        contexts.c.tenant == key.tenant,
        contexts.c.context_id == key.context_id,
    )


def _these(keys: Collection[TaskKey]) -> tuple[ColumnElement[bool], ...]:
    # The ids alone are what the index finds; the rest says whose they must be.
    ids, whole = [key.task_id for key in keys], [(*key.context, key.task_id) for key in keys]
    return tasks.c.task_id.in_(ids), _TASK.in_(whole)
