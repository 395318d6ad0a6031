"""What the embedded stack remembers: sessions and turns, as Llama Stack's agents API has them.

The steps of a turn are part of its row: they are written with its end and read along with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    bindparam,
    select,
    update,
)

from a2a_state.agents import Agent, agents, row_of
from a2a_state.compiled import Compiled
from a2a_state.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Collection

    from a2a_state.database import Database

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("tenant", String, nullable=False),
    Column("agent_id", ForeignKey("agents.agent_id", ondelete="CASCADE"), nullable=False),
    Column("session_name", String, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Index("ix_sessions_agent", "owner", "tenant", "agent_id", "started_at"),
)

turns = Table(
    "turns",
    metadata,
    Column("turn_id", String, primary_key=True),
    Column("session_id", ForeignKey("sessions.session_id", ondelete="CASCADE"), nullable=False),
    Column("owner", String, nullable=False),
    Column("tenant", String, nullable=False),
    # in_progress, awaiting_input, completed, failed or canceled
    Column("state", String, nullable=False),
    # JSON; what belongs to this turn alone: its model, its client tools, what it waits for
    Column("options", LargeBinary, nullable=False),
    Column("input_messages", LargeBinary, nullable=False),
    Column("steps", LargeBinary, nullable=False),
    Column("output_message", LargeBinary),
    Column("started_at", BigInteger, nullable=False),
    Column("completed_at", BigInteger),
    Index("ix_turns_session", "session_id", "started_at"),
)

type Json = Any


class Turn(msgspec.Struct, frozen=True):
    """One message of the user and all that was done to answer it."""

    turn_id: str
    session_id: str
    owner: str
    tenant: str
    state: str
    options: Json
    input_messages: list[Json]
    steps: list[Json]
    output_message: Json
    started_at: int
    completed_at: int | None


class Said(msgspec.Struct, frozen=True):
    """What was said in an earlier turn."""

    input_messages: list[Json]
    steps: list[Json]


class Opened(msgspec.Struct, frozen=True):
    """A turn, and the turns before it, the oldest first."""

    turn: Turn
    earlier: tuple[Said, ...]


class Sessions:
    """The turns of all sessions. What is another owner's is not found."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database
        self._session = Compiled(database, _SESSION)
        self._earlier = Compiled(database, _EARLIER)
        self._insert = Compiled(database, turns.insert())
        self._change = Compiled(database, _CHANGE)

    async def begin(self, turn: Turn, agent: Agent, limit: int) -> Opened | None:
        """Store a new turn, and its session with ``agent`` if it is the first one of it.

        Returns with it up to ``limit`` turns before it that were not given up; None when the
        session is another's.
        """

        def work(connection: Connection) -> Opened | None:
            # Whose turns are there has the session.
            earlier = self._before(connection, turn, limit)
            known = bool(earlier) or self._is_known(connection, turn)
            if not known:
                self._start(connection, turn, agent)
                # another process may have been first, with the session or with its id
                known = self._is_known(connection, turn)
            if not known:
                return None
            self._insert.run(connection, _turn_row(turn))
            return Opened(turn, earlier)

        return await self._database.write(work)

    async def reopen(
        self, owner: str, tenant: str, session_id: str, turn_id: str, limit: int
    ) -> Opened | None:
        """Return a turn that is stored, as ``begin`` does."""

        def work(connection: Connection) -> Opened | None:
            query = select(turns).where(
                turns.c.turn_id == turn_id,
                turns.c.session_id == session_id,
                turns.c.owner == owner,
                turns.c.tenant == tenant,
            )
            row = connection.execute(query).first()
            turn = None if row is None else _turn(row)
            if turn is None or not self._is_known(connection, turn):
                return None
            return Opened(turn, self._before(connection, turn, limit))

        return await self._database.read(work)

    async def change(self, turn: Turn, *, states: tuple[str] | tuple[str, str]) -> bool:
        """Store a turn as it is now, if its stored state is still one of ``states``."""
        values = {
            **_names(turn),
            "b_turn": turn.turn_id,
            "b_either": states[0],
            "b_or": states[-1],
            "b_state": turn.state,
            "b_options": _encode(turn.options),
            "b_steps": _encode(turn.steps),
            "b_output": _encode(turn.output_message),
            "b_completed": turn.completed_at,
        }
        return await self._database.write(lambda c: self._change.run(c, values).rowcount == 1)

    async def cancel(self, session_id: str, turn_id: str, now: int) -> None:
        """End a turn that nobody is to go on with; one that has ended stays as it is."""
        query = (
            update(turns)
            .where(
                turns.c.turn_id == turn_id,
                turns.c.session_id == session_id,
                turns.c.state.in_(("in_progress", "awaiting_input")),
            )
            .values(state="canceled", completed_at=now)
        )
        await self._database.write(lambda c: c.execute(query))

    async def find(self, session_id: str, turn_id: str) -> Turn | None:
        """Return a turn by its ids alone: for recovery, which knows them from the owner's task."""
        query = select(turns).where(turns.c.turn_id == turn_id, turns.c.session_id == session_id)
        row = await self._database.read(lambda c: c.execute(query).first())
        return None if row is None else _turn(row)

    async def steps(self, session_id: str, turn_ids: Collection[str]) -> dict[str, list[Json]]:
        """Return the steps of turns by their ids alone: for who knows these from the owner's tasks."""
        values = {"b_session": session_id, "b_turns": list(turn_ids)}
        rows = await self._database.read(lambda c: c.execute(_STEPS, values).all())
        return {row.turn_id: _decode(row.steps) for row in rows}

    async def delete(self, session_id: str) -> None:
        """Forget a session with its turns, whoever's it is."""
        query = sessions.delete().where(sessions.c.session_id == session_id)
        await self._database.write(lambda c: c.execute(query))

    def _start(self, connection: Connection, turn: Turn, agent: Agent) -> None:
        """Store the session of a turn, unless there is one of its id."""
        session = {
            "session_id": turn.session_id,
            "owner": turn.owner,
            "tenant": turn.tenant,
            "agent_id": agent.agent_id,
            "session_name": "",
            "started_at": turn.started_at,
        }
        for table, row in ((agents, row_of(agent)), (sessions, session)):
            connection.execute(self._database.insert(table).on_conflict_do_nothing(), row)

    def _is_known(self, connection: Connection, turn: Turn) -> bool:
        return self._session.run(connection, _names(turn)).first() is not None

    def _before(self, connection: Connection, turn: Turn, limit: int) -> tuple[Said, ...]:
        values = _names(turn) | {"b_turn": turn.turn_id, "b_at": turn.started_at, "b_limit": limit}
        rows = self._earlier.run(connection, values).all()
        return tuple(Said(_decode(said), _decode(steps)) for said, steps in reversed(rows))


def _names(turn: Turn) -> dict[str, Any]:
    return {"b_session": turn.session_id, "b_owner": turn.owner, "b_tenant": turn.tenant}


_SESSION = select(sessions.c.session_id).where(
    sessions.c.session_id == bindparam("b_session"),
    sessions.c.owner == bindparam("b_owner"),
    sessions.c.tenant == bindparam("b_tenant"),
)
_EARLIER = (
    select(turns.c.input_messages, turns.c.steps)
    .where(
        turns.c.session_id == bindparam("b_session"),
        turns.c.owner == bindparam("b_owner"),
        turns.c.tenant == bindparam("b_tenant"),
        turns.c.turn_id != bindparam("b_turn"),
        (turns.c.state == "completed") | (turns.c.state == "awaiting_input"),
        turns.c.started_at <= bindparam("b_at"),
    )
    .order_by(turns.c.started_at.desc(), turns.c.completed_at.desc())
    .limit(bindparam("b_limit", type_=Integer))
)
_STEPS = select(turns.c.turn_id, turns.c.steps).where(
    turns.c.session_id == bindparam("b_session"),
    turns.c.turn_id.in_(bindparam("b_turns", expanding=True)),
)
_CHANGE = (
    update(turns)
    .where(
        turns.c.turn_id == bindparam("b_turn"),
        turns.c.owner == bindparam("b_owner"),
        turns.c.tenant == bindparam("b_tenant"),
        (turns.c.state == bindparam("b_either")) | (turns.c.state == bindparam("b_or")),
    )
    .values(
        state=bindparam("b_state"),
        options=bindparam("b_options"),
        steps=bindparam("b_steps"),
        output_message=bindparam("b_output"),
        completed_at=bindparam("b_completed"),
    )
)


def _turn(row: Row[Any]) -> Turn:
    values = row._asdict()
    for key in _ENCODED:
        values[key] = _decode(values[key])
    return Turn(**values)


def _turn_row(turn: Turn) -> dict[str, Any]:
    values = msgspec.structs.asdict(turn)
    return values | {key: _encode(values[key]) for key in _ENCODED}


_ENCODED = ("options", "input_messages", "steps", "output_message")


def _encode(value: Json) -> bytes | None:
    return None if value is None else msgspec.json.encode(value)


def _decode(value: bytes | None) -> Json:
    return None if value is None else msgspec.json.decode(value)
