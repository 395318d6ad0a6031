"""The logs of several tasks, read one after another in few queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import BigInteger, String, select, tuple_

from a2a_state.tables import task_events, tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from a2a_state.database import Database

ROWS = 64
"""Rows that are read at once: each may hold a whole task."""


class LogRow(NamedTuple):
    """Events of a task, the first of which has this number."""

    task_id: str
    first_seq: int
    body: bytes


class TaskLogs:
    """The logs of all owners; what is another owner's is not found."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def rows(
        self, owner: str, tenant: str, task_ids: Sequence[str], after: LogRow | None
    ) -> list[LogRow]:
        """Return the next rows of the logs of tasks; ``after`` is the last that is known, if one is."""
        place = tuple_(task_events.c.task_id, task_events.c.first_seq)
        rows = (
            select(task_events.c.task_id, task_events.c.first_seq, task_events.c.body)
            .join(tasks, tasks.c.task_id == task_events.c.task_id)
            .where(
                task_events.c.task_id.in_(task_ids),
                tasks.c.owner == owner,
                tasks.c.tenant == tenant,
            )
            .order_by(task_events.c.task_id, task_events.c.first_seq)
            .limit(ROWS)
        )
        if after is not None:
            known = tuple_(after.task_id, after.first_seq, types=(String(), BigInteger()))
            rows = rows.where(place > known)
        return await self._database.read(lambda c: [LogRow(*row) for row in c.execute(rows)])
