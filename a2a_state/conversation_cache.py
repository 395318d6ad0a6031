"""What was said in conversations, copied into a database that may be another."""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - msgspec resolves the annotations of fields
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    String,
    Table,
    bindparam,
    case,
    delete,
    func,
    select,
    tuple_,
    update,
)

from a2a_state.copy_source import Called
from a2a_state.tables import metadata

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import ColumnElement

    from a2a_state.database import Database

CHUNK = 500
"""Most conversations that one transaction deletes."""

cached_conversations = Table(
    "cached_conversations",
    metadata,
    Column("owner", String, primary_key=True),
    Column("tenant", String, primary_key=True),
    Column("conversation_id", String, primary_key=True),
    Column("topic_summary", String),
    Column("last_message_at", BigInteger, nullable=False),
    Index("ix_cached_conversations_at", "last_message_at"),
    # Small rows that are found by their key only.
    sqlite_with_rowid=False,
)

cached_turns = Table(
    "cached_turns",
    metadata,
    Column("owner", String, primary_key=True),
    Column("tenant", String, primary_key=True),
    Column("conversation_id", String, primary_key=True),
    Column("started_at", BigInteger, primary_key=True),
    Column("task_id", String, primary_key=True),
    # Of the turn within its task.
    Column("number", BigInteger, primary_key=True),
    # The turn as JSON.
    Column("body", LargeBinary, nullable=False),
)


class CachedConversation(msgspec.Struct, frozen=True):
    """A conversation of the cache; ``last_message_at`` is in ms since the epoch."""

    owner: str
    tenant: str
    conversation_id: str
    topic_summary: str | None
    last_message_at: int


class CachedTurn(msgspec.Struct, frozen=True):
    """A turn: when it began, in ms since the epoch, which of its task's it is, and what was said, as JSON."""

    started_at: int
    task_id: str
    number: int
    body: bytes


class CachedTask(msgspec.Struct, frozen=True):
    """What was said in a task, and in which conversation."""

    conversation: CachedConversation
    task_id: str
    turns: Sequence[CachedTurn]


_C, _T = cached_conversations.c, cached_turns.c
_FORGET = delete(cached_conversations).where(
    _C.owner == bindparam("of_owner"),
    _C.tenant == bindparam("of_tenant"),
    _C.conversation_id == bindparam("of_conversation_id"),
)
_FORGET_TURNS = delete(cached_turns).where(
    _T.owner == bindparam("of_owner"),
    _T.tenant == bindparam("of_tenant"),
    _T.conversation_id == bindparam("of_conversation_id"),
)
_FORGET_TASK = _FORGET_TURNS.where(_T.task_id == bindparam("of_task_id"))


class CachedConversations:
    """The cached conversations of all owners; every query names owner and tenant."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database
        add = database.insert(cached_conversations)
        later = case(
            (add.excluded.last_message_at > _C.last_message_at, add.excluded.last_message_at),
            else_=_C.last_message_at,
        )
        self._add = add.on_conflict_do_update(
            index_elements=["owner", "tenant", "conversation_id"],
            set_={
                "last_message_at": later,
                # What somebody has set since it was read stays.
                "topic_summary": func.coalesce(_C.topic_summary, add.excluded.topic_summary),
            },
        )
        self._add_turns = database.insert(cached_turns)

    async def put(self, copies: Sequence[CachedTask], most: int) -> None:
        """Keep the turns of tasks, instead of those that were known of them; ``most`` of a conversation."""
        latest = sorted((copy.conversation for copy in copies), key=lambda c: c.last_message_at)
        by_key = {(c.owner, c.tenant, c.conversation_id): c for c in latest}
        # In order: two transactions never wait for each other.
        conversations = [msgspec.structs.asdict(by_key[key]) for key in sorted(by_key)]
        known = [{f"of_{name}": value for name, value in _place(copy).items()} for copy in copies]
        rows = [
            {**_place(copy), **msgspec.structs.asdict(turn)}
            for copy in copies
            for turn in copy.turns
        ]

        def work(connection: Connection) -> None:
            # The conversations first: who else writes them waits.
            connection.execute(self._add, conversations)
            connection.execute(_FORGET_TASK, known)
            connection.execute(self._add_turns, rows)
            for owner, tenant, conversation_id in sorted(by_key):
                _forget_first(connection, _turns(owner, tenant, conversation_id), most)

        await self._database.write(work)

    async def names(self, after: tuple[str, str, str], most: int) -> list[Called]:
        """Return the next conversations of all owners behind one, in the order of their keys."""
        place = (_C.owner, _C.tenant, _C.conversation_id)
        next_ones = select(*place).where(tuple_(*place) > after).order_by(*place).limit(most)
        return await self._database.read(lambda c: [Called(*row) for row in c.execute(next_ones)])

    async def newest(self) -> int | None:
        """Return when something was said last, in ms since the epoch; None where nothing was."""
        newest = select(func.max(_C.last_message_at))
        return await self._database.read(lambda c: c.execute(newest).scalar())

    async def latest(self, owner: str, tenant: str, most: int) -> list[CachedConversation]:
        """Return the owner's conversations, the latest first."""
        statement = (
            select(cached_conversations)
            .where(_C.owner == owner, _C.tenant == tenant)
            .order_by(_C.last_message_at.desc(), _C.conversation_id.desc())
            .limit(most)
        )
        found = await self._database.read(lambda c: c.execute(statement).all())
        return [CachedConversation(*row) for row in found]

    async def turns(
        self, owner: str, tenant: str, conversation_id: str, most_bytes: int
    ) -> list[bytes] | None:
        """Return what was said, in order; the latest that fits, and at least one. None: there is no such."""
        key = {"owner": owner, "tenant": tenant, "conversation_id": conversation_id}
        size = func.length(_T.body)
        latest = (_T.started_at.desc(), _T.task_id.desc(), _T.number.desc())
        place = (_T.started_at, _T.task_id, _T.number)
        up_to_here = func.sum(size).over(order_by=latest, rows=(None, 0))
        sizes = select(*place, (up_to_here - size).label("before")).where(*_turns(**key)).subquery()
        fits = (
            select(_T.body)
            .join_from(
                sizes,
                cached_turns,
                (_T.started_at == sizes.c.started_at)
                & (_T.task_id == sizes.c.task_id)
                & (_T.number == sizes.c.number),
            )
            .where(*_turns(**key), sizes.c.before < most_bytes)
            .order_by(*place)
        )

        def work(connection: Connection) -> list[bytes] | None:
            there = connection.execute(select(_C.owner).where(*_conversation(**key))).first()
            return None if there is None else list(connection.execute(fits).scalars())

        return await self._database.read(work)

    async def set_topic(self, owner: str, tenant: str, conversation_id: str, text: str) -> bool:
        """Name the topic; returns whether there is such a conversation."""
        named = (
            update(cached_conversations)
            .where(*_conversation(owner, tenant, conversation_id))
            .values(topic_summary=text)
        )
        return bool(await self._database.write(lambda c: c.execute(named).rowcount))

    async def forget(self, owner: str, tenant: str, conversation_id: str) -> bool:
        """Delete a conversation; returns whether it was there."""

        def work(connection: Connection) -> bool:
            these = _conversation(owner, tenant, conversation_id)
            there = connection.execute(delete(cached_conversations).where(*these)).rowcount
            turns = _turns(owner, tenant, conversation_id)
            connection.execute(delete(cached_turns).where(*turns))
            return bool(there)

        return await self._database.write(work)

    async def forget_task(
        self, owner: str, tenant: str, conversation_id: str, task_id: str
    ) -> None:
        """Delete the turns of a task; the conversation stays."""
        its = delete(cached_turns).where(
            *_turns(owner, tenant, conversation_id), _T.task_id == task_id
        )
        await self._database.write(lambda c: c.execute(its))

    async def forget_before(self, at: int) -> int:
        """Delete some of the conversations in which nothing was said since; returns how many."""
        oldest = select(_C.owner, _C.tenant, _C.conversation_id).where(_C.last_message_at < at)
        return await self._forget_oldest(oldest.order_by(_C.last_message_at).limit(CHUNK))

    async def keep_latest(self, most: int) -> int:
        """Delete some conversations, those that are beyond so many; returns how many."""
        newest = (_C.last_message_at.desc(), _C.conversation_id.desc())
        beyond = select(_C.owner, _C.tenant, _C.conversation_id).order_by(*newest)
        return await self._forget_oldest(beyond.offset(most).limit(CHUNK))

    async def _forget_oldest(self, which: Any) -> int:
        def work(connection: Connection) -> int:
            found = [tuple(row) for row in connection.execute(which)]
            names = ("of_owner", "of_tenant", "of_conversation_id")
            if keys := [dict(zip(names, key, strict=True)) for key in sorted(found)]:
                connection.execute(_FORGET, keys)
                connection.execute(_FORGET_TURNS, keys)
            return len(found)

        return await self._database.write(work)


def _place(copy: CachedTask) -> dict[str, str]:
    return {
        "owner": copy.conversation.owner,
        "tenant": copy.conversation.tenant,
        "conversation_id": copy.conversation.conversation_id,
        "task_id": copy.task_id,
    }


def _conversation(owner: str, tenant: str, conversation_id: str) -> tuple[ColumnElement[bool], ...]:
    return _C.owner == owner, _C.tenant == tenant, _C.conversation_id == conversation_id


def _turns(owner: str, tenant: str, conversation_id: str) -> tuple[ColumnElement[bool], ...]:
    return _T.owner == owner, _T.tenant == tenant, _T.conversation_id == conversation_id


def _forget_first(
    connection: Connection, its_turns: tuple[ColumnElement[bool], ...], most: int
) -> None:
    """Delete what is beyond so many turns of a conversation, the oldest."""
    first_kept = (
        select(_T.started_at, _T.task_id, _T.number)
        .where(*its_turns)
        .order_by(_T.started_at.desc(), _T.task_id.desc(), _T.number.desc())
        .offset(most - 1)
        .limit(1)
    )
    kept = connection.execute(first_kept).first()
    if kept is not None:
        before = tuple_(_T.started_at, _T.task_id, _T.number) < tuple(kept)
        connection.execute(delete(cached_turns).where(*its_turns, before))
