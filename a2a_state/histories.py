"""Conversations, found and listed without reading what was said; and where that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import BigInteger, String, bindparam, cast, func, or_, select, union_all, update

from a2a_state.compiled import Compiled
from a2a_state.contexts import Context
from a2a_state.tables import contexts, task_events, tasks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Select

    from a2a_state.database import Database

MOST = 10_000
"""Most conversations in a list, and most tasks of a conversation that are looked at: the latest."""

LOG_ROWS = 64
"""Rows of the log that are read at once: each may hold a whole task."""

# The same number of digits for every moment: in front of a text, the latest is the greatest.
_DIGITS = 10**15
_DIGIT_COUNT = len(str(_DIGITS))


class FoundConversation(msgspec.Struct, frozen=True):
    """A context in a list; ``last_message_at`` is that of its latest task, or of the context itself.

    ``messages`` are those of users; ``model`` is the one that answered last, as provider/model.
    """

    owner: str
    tenant: str
    context_id: str
    public_id: str | None
    topic_summary: str | None
    created_at: int
    last_message_at: int
    messages: int
    model: str | None


class TaskPlace(msgspec.Struct, frozen=True):
    """A task of a conversation, and how much there is to read; ``messages`` None is not known."""

    task_id: str
    state: str
    messages: int | None
    size: int


class TaskBody(msgspec.Struct, frozen=True):
    """A task as it is stored; ``created_at`` is in ms since the epoch."""

    task_id: str
    created_at: int
    body: bytes


class ContextKey(NamedTuple):
    """Which context: ids of contexts are chosen by clients."""

    owner: str
    tenant: str
    context_id: str


_ALIVE, _ENDED = tasks.c.ended_at.is_(None), tasks.c.ended_at.is_not(None)

# Built once: building a statement costs more than running it.
_C = contexts.c
_MINE = (_C.owner == bindparam("owner")) & (_C.tenant == bindparam("tenant"))
_OF_KEY = select(contexts).where(_MINE, _C.context_id == bindparam("conversation_id"))
_OF_PUBLIC_ID = select(contexts).where(_MINE, _C.public_id == bindparam("conversation_id"))
# The oldest, of several who have the same: who comes later must not stand in for who was there.
_ANYBODYS = tuple(
    select(contexts)
    .where(_C.tenant == bindparam("tenant"), name == bindparam("conversation_id"))
    .order_by(_C.created_at, _C.owner)
    .limit(1)
    for name in (_C.context_id, _C.public_id)
)
_NAME = (
    update(contexts)
    .where(
        _C.owner == bindparam("of_owner"),
        _C.tenant == bindparam("of_tenant"),
        _C.context_id == bindparam("of_context"),
        # Whoever was first has said how it is called.
        _C.public_id.is_(None),
    )
    .values(public_id=bindparam("called"))
)


class ConversationSearch:
    """The conversations of all owners; each query names whose it wants."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database
        self._of_key = Compiled(database, _OF_KEY)

    async def get(self, key: ContextKey) -> Context | None:
        """Return the owner's context."""
        wanted = {"owner": key.owner, "tenant": key.tenant, "conversation_id": key.context_id}

        def work(connection: Connection) -> Context | None:
            row = self._of_key.run(connection, wanted).first()
            return None if row is None else Context(*row)

        return await self._database.read(work)

    async def find(self, owner: str, tenant: str, conversation_id: str) -> Context | None:
        """Return the owner's context that is called so, by its own id or its public one."""
        key = {"owner": owner, "tenant": tenant, "conversation_id": conversation_id}

        def work(connection: Connection) -> Context | None:
            row = self._of_key.run(connection, key).first()
            if row is None:
                row = connection.execute(_OF_PUBLIC_ID, key).first()
            return None if row is None else Context(*row)

        return await self._database.read(work)

    async def find_anybodys(self, tenant: str, conversation_id: str) -> Context | None:
        """Return whoever's context is called so."""
        key = {"tenant": tenant, "conversation_id": conversation_id}

        def work(connection: Connection) -> Context | None:
            rows = [row for each in _ANYBODYS for row in connection.execute(each, key)]
            found = [Context(*row) for row in rows]
            return min(found, key=lambda one: (one.created_at, one.owner), default=None)

        return await self._database.read(work)

    async def name(self, names: Mapping[ContextKey, str]) -> None:
        """Give contexts their public ids, unless they have one."""
        fields = ("of_owner", "of_tenant", "of_context")
        # In order: two transactions never wait for each other.
        rows = [dict(zip(fields, key, strict=True), called=names[key]) for key in sorted(names)]
        if rows:
            await self._database.write(lambda c: c.execute(_NAME, rows))

    async def set_topic(self, context: ContextKey, text: str) -> bool:
        """Name the topic of a context; returns whether it is there."""
        named = (
            update(contexts)
            .where(
                _C.owner == context.owner,
                _C.tenant == context.tenant,
                _C.context_id == context.context_id,
            )
            .values(topic_summary=text)
        )
        return bool(await self._database.write(lambda c: c.execute(named).rowcount))

    async def latest(self, owner: str | None, tenant: str) -> list[FoundConversation]:
        """Return the owner's conversations, or everybody's, the latest first.

        A context in which there has never been a task is none, unless somebody has named its topic.
        """
        statement = _list(owner, tenant)

        def work(connection: Connection) -> list[FoundConversation]:
            return [FoundConversation(*row) for row in connection.execute(statement)]

        return await self._database.read(work)

    async def unended(self, context: ContextKey, most: int) -> list[str]:
        """Return the ids of tasks that have not ended."""
        alive = select(tasks.c.task_id).where(*_of(context), _ALIVE).limit(most)
        return await self._database.read(lambda c: list(c.execute(alive).scalars()))

    async def tasks(self, context: ContextKey) -> list[TaskPlace]:
        """Return the latest tasks of a conversation, the one whose status changed last first."""
        columns = (tasks.c.task_id, tasks.c.state, tasks.c.messages, func.length(tasks.c.body))
        parts = [
            select(tasks.c.updated_at, *columns)
            .where(*_of(context), part)
            .order_by(tasks.c.updated_at.desc())
            .limit(MOST)
            for part in (_ALIVE, _ENDED)
        ]

        def work(connection: Connection) -> list[TaskPlace]:
            rows = [row for part in parts for row in connection.execute(part)]
            rows.sort(key=lambda row: (row[0], row[1]), reverse=True)
            return [TaskPlace(*row[1:]) for row in rows[:MOST]]

        return await self._database.read(work)

    async def context_of(self, owner: str, tenant: str, task_id: str) -> str | None:
        """Return the context of the owner's task; None without it."""
        found = select(tasks.c.context_id).where(
            tasks.c.task_id == task_id, tasks.c.owner == owner, tasks.c.tenant == tenant
        )
        return await self._database.read(lambda c: c.execute(found).scalar())

    async def bodies(self, owner: str, tenant: str, task_ids: Sequence[str]) -> list[TaskBody]:
        """Return tasks as they are stored, in no order."""
        found = select(tasks.c.task_id, tasks.c.created_at, tasks.c.body).where(
            tasks.c.task_id.in_(task_ids), tasks.c.owner == owner, tasks.c.tenant == tenant
        )
        return await self._database.read(lambda c: [TaskBody(*row) for row in c.execute(found)])

    async def log(
        self, owner: str, tenant: str, task_id: str, after: int
    ) -> list[tuple[int, bytes]]:
        """Return some rows of a task's log behind event number ``after``: its last number, and its events."""
        rows = (
            select(task_events.c.last_seq, task_events.c.body)
            .join(tasks, tasks.c.task_id == task_events.c.task_id)
            .where(
                task_events.c.task_id == task_id,
                task_events.c.first_seq > after,
                tasks.c.owner == owner,
                tasks.c.tenant == tenant,
            )
            .order_by(task_events.c.first_seq)
            .limit(LOG_ROWS)
        )
        return await self._database.read(lambda c: [(seq, body) for seq, body in c.execute(rows)])


def _of(context: ContextKey) -> tuple[ColumnElement[bool], ...]:
    return (
        tasks.c.owner == context.owner,
        tasks.c.tenant == context.tenant,
        tasks.c.context_id == context.context_id,
    )


def _list(owner: str | None, tenant: str) -> Select[Any]:
    # One index knows all of those that have ended; those alive are few.
    both = union_all(*(_totals(owner, tenant, part) for part in (_ALIVE, _ENDED))).subquery()
    said = (
        select(
            both.c.owner,
            both.c.context_id,
            func.max(both.c.last_at).label("last_at"),
            func.sum(both.c.messages).label("messages"),
            func.max(both.c.model).label("model"),
        )
        .group_by(both.c.owner, both.c.context_id)
        .subquery()
    )
    last_message_at = func.coalesce(said.c.last_at, _C.used_at, _C.created_at)
    found = (
        select(
            _C.owner,
            _C.tenant,
            _C.context_id,
            _C.public_id,
            _C.topic_summary,
            _C.created_at,
            last_message_at,
            # PostgreSQL's sum of bigint is a numeric.
            cast(func.coalesce(said.c.messages, 0), BigInteger),
            func.substr(said.c.model, _DIGIT_COUNT + 1),
        )
        .outerjoin_from(
            contexts, said, (said.c.owner == _C.owner) & (said.c.context_id == _C.context_id)
        )
        .where(
            _C.tenant == tenant,
            or_(
                said.c.last_at.is_not(None), _C.used_at.is_not(None), _C.topic_summary.is_not(None)
            ),
        )
        .order_by(last_message_at.desc(), _C.owner, _C.context_id)
        .limit(MOST)
    )
    return found if owner is None else found.where(_C.owner == owner)


def _totals(owner: str | None, tenant: str, part: ColumnElement[bool]) -> Select[Any]:
    """Sum up the tasks of each context; the model of the latest of them has the time in front of it."""
    model = cast(tasks.c.updated_at + _DIGITS, String).concat(tasks.c.model)
    totals = (
        select(
            tasks.c.owner,
            tasks.c.context_id,
            func.max(tasks.c.updated_at).label("last_at"),
            func.sum(func.coalesce(tasks.c.messages, 1)).label("messages"),
            func.max(model).label("model"),
        )
        .where(tasks.c.tenant == tenant, part)
        .group_by(tasks.c.owner, tasks.c.context_id)
    )
    return totals if owner is None else totals.where(tasks.c.owner == owner)
