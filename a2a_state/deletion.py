"""Deleting what an owner does not want to be kept."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import select

from a2a_state.forget import CONTEXT, TASK, forget_contexts, forget_keys, forget_tasks
from a2a_state.tables import contexts, tasks
from agent.errors import ContextNotFound, TaskNotFound, UnsupportedOperation

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from a2a_state.database import Database

CHUNK = 200
"""Most tasks of a context that one transaction deletes: others who write wait for it."""

NOT_ENDED = "The task has not ended: cancel it first"
CONTEXT_IN_USE = "A task of the context has not ended: cancel it first"


class Deletion:
    """Deletes an owner's tasks and contexts, with all that belongs to them.

    What is another owner's is not found. Nothing that has not ended is deleted.
    """

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def task(self, owner: str, tenant: str, task_id: str) -> None:
        """Delete a task; raises ``TaskNotFound``, or ``UnsupportedOperation`` when it has not ended."""

        def work(connection: Connection) -> None:
            this = _owned(owner, tenant) & (tasks.c.task_id == task_id)
            rows = connection.execute(select(*TASK).where(this).with_for_update()).all()
            if not rows:
                raise TaskNotFound
            if rows[0].ended_at is None:
                raise UnsupportedOperation(NOT_ENDED)
            forget_tasks(connection, rows)
            forget_keys(connection, rows)

        await self._database.write(work)

    async def context(self, owner: str, tenant: str, context_id: str) -> None:
        """Delete a context, its tasks, and what the embedded stack remembers of it.

        Raises ``ContextNotFound``, or ``UnsupportedOperation`` when one of its tasks has not ended. The
        tasks of a large context go in several transactions, the oldest first; the last one is for
        the context itself. A task that begins between two of them stops it there.
        """
        known = (
            (contexts.c.owner == owner)
            & (contexts.c.tenant == tenant)
            & (contexts.c.context_id == context_id)
        )
        its_tasks = _owned(owner, tenant) & (tasks.c.context_id == context_id)
        alive = select(tasks.c.task_id).where(its_tasks, tasks.c.ended_at.is_(None)).limit(1)
        ended = (
            select(*TASK)
            .where(its_tasks, tasks.c.ended_at.is_not(None))
            .order_by(tasks.c.updated_at)
            .limit(CHUNK)
            .with_for_update()
        )

        # Some may have ended since the others were read.
        left = select(tasks.c.task_id).where(its_tasks, tasks.c.ended_at.is_not(None)).limit(1)

        def work(connection: Connection, *, is_first: bool) -> bool:
            """Delete some; return whether that was all."""
            # Tasks first, as whoever deletes: two of them never wait for each other.
            rows = connection.execute(ended).all()
            # Locked: a task that may only be stored in a context that is there waits, or is seen.
            there = connection.execute(select(*CONTEXT).where(known).with_for_update()).all()
            if connection.execute(alive).first() is not None:
                raise UnsupportedOperation(CONTEXT_IN_USE)
            if is_first and not there and not rows:
                raise ContextNotFound
            forget_tasks(connection, rows)
            forget_keys(connection, rows)
            if connection.execute(left).first() is not None:
                return False
            forget_contexts(connection, there)
            return True

        is_first = True
        while not await self._database.write(partial(work, is_first=is_first)):
            is_first = False
            await asyncio.sleep(0)


def _owned(owner: str, tenant: str) -> ColumnElement[bool]:
    return (tasks.c.owner == owner) & (tasks.c.tenant == tenant)
