"""Reading tasks. They are written through the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Connection, bindparam, select, update

from a2a_state.tables import task_events, tasks
from agent.clock import now
from agent.errors import TaskTaken

if TYPE_CHECKING:
    from collections.abc import Collection

    from a2a_state.database import Database


LOG_ROWS = 256
"""Most rows of the event log that are read at once."""


class TaskRow(msgspec.Struct, frozen=True):
    """One row of ``tasks``: see ``tables`` for what the columns mean."""

    task_id: str
    owner: str
    tenant: str
    context_id: str
    state: str
    turn_id: str | None
    body: bytes
    seq: int
    fence: int
    lease_holder: str
    lease_until: int
    created_at: int
    updated_at: int
    ended_at: int | None
    request: bytes | None = None
    recoveries: int = 0
    cancel_at: int | None = None
    model: str | None = None
    messages: int | None = None
    # Not a column: nobody else can know the task before this is written.
    is_new: bool = False


class StoredTask(msgspec.Struct, frozen=True):
    """A task as of its row, and the events that came after, in order: JSON arrays of stream responses.

    ``last_seq`` is the number of the last of them.
    """

    row: TaskRow
    later_events: tuple[bytes, ...] = ()
    last_seq: int = 0


class LogRow(msgspec.Struct, frozen=True):
    """Events ``first_seq`` to ``last_seq`` of a task: a JSON array of stream responses."""

    first_seq: int
    last_seq: int
    body: bytes


class Standing(msgspec.Struct, frozen=True):
    """Where a task stands, without its content."""

    state: str
    fence: int
    lease_until: int


# Built once: building a statement costs more than running it.
_MINE = (tasks.c.owner == bindparam("owner")) & (tasks.c.tenant == bindparam("tenant"))
_GET = select(tasks).where(tasks.c.task_id == bindparam("task_id"), _MINE)
_LATER = (
    select(task_events.c.last_seq, task_events.c.body)
    .where(
        task_events.c.task_id == bindparam("task_id"), task_events.c.first_seq > bindparam("seq")
    )
    .order_by(task_events.c.first_seq)
)
_LOG = (
    select(task_events.c.first_seq, task_events.c.last_seq, task_events.c.body)
    .join(tasks, tasks.c.task_id == task_events.c.task_id)
    .where(
        task_events.c.task_id == bindparam("task_id"),
        task_events.c.last_seq > bindparam("after"),
        _MINE,
    )
    .order_by(task_events.c.first_seq)
    .limit(LOG_ROWS)
)
_STANDING = select(tasks.c.state, tasks.c.fence, tasks.c.lease_until).where(
    tasks.c.task_id == bindparam("task_id"), _MINE
)
_WAITING = (
    select(tasks.c.task_id)
    .where(
        _MINE,
        tasks.c.context_id == bindparam("context_id"),
        tasks.c.ended_at.is_(None),
        tasks.c.state.in_(bindparam("states", expanding=True)),
    )
    .limit(2)
)
_TO_CANCEL = select(tasks.c.task_id).where(
    tasks.c.lease_holder == bindparam("holder"),
    tasks.c.cancel_at.is_not(None),
    tasks.c.ended_at.is_(None),
    tasks.c.lease_until > 0,
)


class Tasks:
    """The tasks of all owners; every query names owner and tenant."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def get(self, owner: str, tenant: str, task_id: str) -> StoredTask | None:
        """Return the owner's task, or None."""
        key = {"owner": owner, "tenant": tenant, "task_id": task_id}

        def work(connection: Connection) -> StoredTask | None:
            row = connection.execute(_GET, key).first()
            if row is None:
                return None
            task = TaskRow(*row)
            if task.ended_at is not None:
                return StoredTask(task, last_seq=task.seq)
            found = connection.execute(_LATER, {"task_id": task_id, "seq": task.seq})
            later = [tuple(event) for event in found]
            last_seq = later[-1][0] if later else task.seq
            return StoredTask(task, tuple(body for _, body in later), last_seq)

        return await self._database.read(work)

    async def renew(self, holder: str, running: Collection[str], lease_until: int) -> list[str]:
        """Keep the tasks that ``holder`` runs from being taken for dead before ``lease_until``.

        ``running`` are their ids: a task whose end could not be stored is not one of them. Returns
        those that another holder has by now.
        """
        if not running:
            return []
        held = (
            select(tasks.c.task_id)
            .where(
                tasks.c.task_id.in_(running),
                tasks.c.lease_holder == holder,
                tasks.c.ended_at.is_(None),
                tasks.c.lease_until > 0,
            )
            # In order, as the journal: neither waits for the other while it holds what that waits for.
            .order_by(tasks.c.task_id)
            .with_for_update()
        )
        kept = update(tasks).where(tasks.c.task_id.in_(held)).values(lease_until=lease_until)
        lost = select(tasks.c.task_id).where(
            tasks.c.task_id.in_(running), tasks.c.lease_holder != holder
        )

        def work(connection: Connection) -> list[str]:
            connection.execute(kept)
            return list(connection.execute(lost).scalars())

        return await self._database.write(work)

    async def abandoned(self, states: tuple[str, ...], now: int, limit: int) -> list[TaskRow]:
        """Return tasks of all owners, in one of ``states``, whose lease has run out."""

        def work(connection: Connection) -> list[TaskRow]:
            found = connection.execute(
                select(tasks)
                .where(
                    tasks.c.ended_at.is_(None),
                    tasks.c.lease_until < now,
                    tasks.c.state.in_(states),
                )
                .order_by(tasks.c.lease_until)
                .limit(limit)
            )
            return [TaskRow(*row) for row in found]

        return await self._database.read(work)

    async def log(self, owner: str, tenant: str, task_id: str, after: int) -> list[LogRow]:
        """Return the next rows of the log that hold events after number ``after``, some at a time.

        Each write is whole before it is seen, so what is here has no gap before it.
        """
        key = {"owner": owner, "tenant": tenant, "task_id": task_id, "after": after}
        return await self._database.read(lambda c: [LogRow(*row) for row in c.execute(_LOG, key)])

    async def owner(self, tenant: str, task_id: str) -> str | None:
        """Return whose task it is, for who may work on the tasks of others; None without it."""
        statement = select(tasks.c.owner).where(
            tasks.c.task_id == task_id, tasks.c.tenant == tenant
        )

        def work(connection: Connection) -> str | None:
            return connection.execute(statement).scalar()

        return await self._database.read(work)

    async def standing(self, owner: str, tenant: str, task_id: str) -> Standing | None:
        """Return where the owner's task stands, or None."""
        key = {"owner": owner, "tenant": tenant, "task_id": task_id}

        def work(connection: Connection) -> Standing | None:
            row = connection.execute(_STANDING, key).first()
            return None if row is None else Standing(*row)

        return await self._database.read(work)

    async def take(
        self, row: TaskRow, holder: str, lease_until: int, *, recovers: bool = False
    ) -> TaskRow:
        """Become the one writer of a task that nobody runs; ``recovers`` its turn, or goes on with a new one.

        Raises ``TaskTaken`` when somebody does: its lease holds, or another was first.
        """
        if row.lease_until > now():
            raise TaskTaken
        news = {
            "fence": row.fence + 1,
            "lease_holder": holder,
            "lease_until": lease_until,
            # Who gave the task back, with its lease, did not die of it.
            "recoveries": row.recoveries + (row.lease_until > 0) if recovers else 0,
            "cancel_at": row.cancel_at if recovers else None,
        }
        taken = (
            update(tasks)
            .where(
                tasks.c.task_id == row.task_id,
                tasks.c.owner == row.owner,
                tasks.c.tenant == row.tenant,
                tasks.c.fence == row.fence,
                # The holder may have given a sign of life since the row was read.
                tasks.c.lease_until == row.lease_until,
                tasks.c.ended_at.is_(None),
            )
            .values(news)
        )
        if not (await self._database.write(lambda c: c.execute(taken).rowcount)):
            raise TaskTaken
        return msgspec.structs.replace(row, **news)

    async def release(self, row: TaskRow) -> None:
        """Give back a task that was taken and not changed; ``recoveries`` become the row's."""
        given_back = (
            update(tasks)
            .where(tasks.c.task_id == row.task_id, tasks.c.fence == row.fence)
            .values(lease_until=0, recoveries=row.recoveries)
        )
        await self._database.write(lambda c: c.execute(given_back))

    async def ask_to_cancel(self, row: TaskRow) -> None:
        """Leave word for the process that runs the task."""
        asked = (
            update(tasks)
            .where(
                tasks.c.task_id == row.task_id,
                tasks.c.owner == row.owner,
                tasks.c.tenant == row.tenant,
                tasks.c.ended_at.is_(None),
            )
            .values(cancel_at=now())
        )
        await self._database.write(lambda c: c.execute(asked))

    async def to_cancel(self, holder: str) -> list[str]:
        """Return the ids of the tasks that ``holder`` runs and is asked to cancel."""
        return await self._database.read(
            lambda c: list(c.execute(_TO_CANCEL, {"holder": holder}).scalars())
        )

    async def waiting(
        self, owner: str, tenant: str, context_id: str, states: tuple[str, ...]
    ) -> list[str]:
        """Return the ids of the context's tasks that are in one of ``states``, two at most."""
        key = {"owner": owner, "tenant": tenant, "context_id": context_id, "states": states}

        def work(connection: Connection) -> list[str]:
            return list(connection.execute(_WAITING, key).scalars())

        return await self._database.read(work)
