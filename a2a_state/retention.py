"""Deleting what has been kept long enough, a little at a time.

Several processes may do so at once: each passes over the rows that another is deleting. Nothing is
asked of those who write: ids of tasks begin with the time, and contexts are looked through in turn.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, select, tuple_

from a2a_state.forget import CONTEXT, TASK, forget_contexts, forget_tasks
from a2a_state.job_table import jobs
from a2a_state.jobs import EVAL
from a2a_state.push_configs import ACTIVE, push_configs
from a2a_state.tables import contexts, message_keys, tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import ColumnElement, Select

    from a2a_state.database import Database
    from a2a_state.forget import Rows

CHUNK = 200
"""Most rows that one transaction deletes: others who write wait for it."""

JOBS_CHUNK = 10
"""The same of jobs, whose results may be large."""

SLICE = 10_000
"""Most contexts that are looked at in one round."""

type Place = tuple[Any, ...]
"""Owner, tenant and id of a context, in the order of the primary key."""

_PLACE = (contexts.c.owner, contexts.c.tenant, contexts.c.context_id)
_FIRST: Place = ("", "", "")

_TO_BE_SENT = (
    select(push_configs.c.task_id)
    .where(
        push_configs.c.owner == tasks.c.owner,
        push_configs.c.tenant == tasks.c.tenant,
        push_configs.c.task_id == tasks.c.task_id,
        push_configs.c.state == ACTIVE,
        push_configs.c.delivered_seq < tasks.c.seq,
    )
    .exists()
)


class Purge:
    """Deletes what is older than a moment; each method returns how much that was."""

    def __init__(self, database: Database) -> None:
        """Keep the database; contexts are looked at from the first on."""
        self._database = database
        self._looked_at = _FIRST

    async def tasks(self, before: int) -> int:
        """Delete tasks that ended before a moment and have nothing left to be sent."""
        count, after = 0, ""
        while True:
            rows = await self._database.write(partial(_delete_tasks, before=before, after=after))
            count += len(rows)
            if len(rows) < CHUNK:
                return count
            after = rows[-1].task_id
            await asyncio.sleep(0)

    async def message_keys(self, before: int) -> int:
        """Delete the keys of messages that came before a moment."""
        return await self._chunks(partial(_delete_keys, before=before), CHUNK)

    async def jobs(self, before: int) -> int:
        """Delete evaluations that ended before a moment; what training has made are models, which stay."""
        return await self._chunks(partial(_delete_jobs, before=before), JOBS_CHUNK)

    async def contexts(self, before: int) -> int:
        """Delete contexts without tasks that were last used before a moment.

        Looks at ``SLICE`` contexts and goes on from there the next time.
        """
        unused, self._looked_at = await self._database.read(
            partial(_unused_contexts, before=before, after=self._looked_at)
        )
        count = 0
        for chunk in batched(unused, CHUNK):
            count += await self._database.write(
                partial(_delete_contexts, before=before, some=chunk)
            )
            await asyncio.sleep(0)
        return count

    async def _chunks(self, delete_some: Callable[[Connection], int], most: int) -> int:
        """Delete so many rows at a time, until there are fewer."""
        count = 0
        while True:
            deleted = await self._database.write(delete_some)
            count += deleted
            if deleted < most:
                return count
            await asyncio.sleep(0)


def _delete_tasks(connection: Connection, *, before: int, after: str) -> Rows:
    rows = connection.execute(
        select(*TASK)
        .where(
            tasks.c.task_id > after,
            # A task ends after it began: for the primary key, so that younger tasks are not looked at.
            tasks.c.task_id < task_ids_from(before),
            tasks.c.ended_at < before,
            ~_TO_BE_SENT,
        )
        .order_by(tasks.c.task_id)
        .limit(CHUNK)
        .with_for_update(of=tasks, skip_locked=True)
    ).all()
    forget_tasks(connection, rows)
    return rows


def _delete_keys(connection: Connection, *, before: int) -> int:
    columns = (message_keys.c.owner, message_keys.c.tenant, message_keys.c.key)
    old = select(*columns).where(message_keys.c.created_at < before)
    return _delete_some(connection, old.order_by(message_keys.c.created_at).limit(CHUNK))


def _delete_jobs(connection: Connection, *, before: int) -> int:
    columns = (jobs.c.owner, jobs.c.tenant, jobs.c.kind, jobs.c.job_id)
    old = select(*columns).where(jobs.c.kind == EVAL, jobs.c.ended_at < before)
    return _delete_some(connection, old.order_by(jobs.c.ended_at).limit(JOBS_CHUNK))


def _delete_some(connection: Connection, some: Select[Any]) -> int:
    """Delete the rows that are selected by their primary key."""
    rows = [tuple(row) for row in connection.execute(some.with_for_update(skip_locked=True))]
    if rows:
        columns = tuple(some.selected_columns)
        connection.execute(delete(columns[0].table).where(tuple_(*columns).in_(rows)))
    return len(rows)


def _unused_contexts(
    connection: Connection, *, before: int, after: Place
) -> tuple[list[Place], Place]:
    """Return those of the next contexts that may be deleted, and where to go on."""
    next_ones = select(*_PLACE).where(tuple_(*_PLACE) > after)
    last = connection.execute(next_ones.order_by(*_PLACE).offset(SLICE - 1).limit(1)).first()
    if last is not None:
        next_ones = next_ones.where(tuple_(*_PLACE) <= tuple(last))
    found = connection.execute(next_ones.where(*_is_unused(before)).order_by(*_PLACE))
    return [tuple(row) for row in found], _FIRST if last is None else tuple(last)


def _delete_contexts(connection: Connection, *, before: int, some: Sequence[Place]) -> int:
    rows = connection.execute(
        select(*CONTEXT)
        .where(tuple_(*_PLACE).in_(some), *_is_unused(before))
        .with_for_update(of=contexts, skip_locked=True)
    ).all()
    forget_contexts(connection, rows)
    return len(rows)


def _is_unused(before: int) -> tuple[ColumnElement[bool], ...]:
    return (
        func.coalesce(contexts.c.used_at, contexts.c.created_at) < before,
        ~_has_task(tasks.c.ended_at.is_(None)),
        ~_has_task(tasks.c.ended_at.is_not(None)),
    )


def _has_task(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Tell whether a context has a task; one index knows those alive, another those that have ended."""
    return (
        select(tasks.c.task_id)
        .where(
            tasks.c.owner == contexts.c.owner,
            tasks.c.tenant == contexts.c.tenant,
            tasks.c.context_id == contexts.c.context_id,
            condition,
        )
        .exists()
    )


def task_ids_from(at: int) -> str:
    """Return what all ids are greater than that ``model.new_task_id`` makes from a moment on."""
    return f"{at >> 16:08x}-{at & 0xFFFF:04x}-7"
