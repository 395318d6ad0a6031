"""What a Llama Stack keeps for callers of ours: it does not know whose it is, so we do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import BigInteger, Column, Index, String, Table, func, select

from a2a_state.agents import agents
from a2a_state.tables import metadata
from agent.clock import now

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement, Connection

    from a2a_state.database import Database

forwarded = Table(
    "forwarded",
    metadata,
    # agent, session, training_job, training_running, training_dataset
    Column("kind", String, primary_key=True),
    # The agent of a session, the job of a dataset, the caller's id of a job, which has a second row for
    # as long as it was not seen to have ended; empty for agents.
    Column("parent_id", String, primary_key=True),
    # The server's own id.
    Column("remote_id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("tenant", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_forwarded_owner", "owner", "tenant", "kind", "parent_id", "created_at"),
)

type Kind = Literal["agent", "session", "training_job", "training_running", "training_dataset"]


class Theirs(NamedTuple):
    """Whose things are meant."""

    owner: str
    tenant: str


class Kept(NamedTuple):
    """One thing that the server keeps; since when, in milliseconds since the epoch."""

    remote_id: str
    parent_id: str
    created_at: int


class Forwarded:
    """The things of all owners; what is another owner's is not found."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def add(self, whose: Theirs, kind: Kind, remote_id: str, parent: str = "") -> None:
        """Note whose a thing is from now on: a server that forgot things may use an id again."""
        statement = self._added(whose, kind, remote_id, parent)
        await self._database.write(lambda c: c.execute(statement))

    async def add_agent(self, whose: Theirs, remote_id: str, most: int) -> bool:
        """Note whose an agent is; False when its owner has ``most``, there and here together."""
        added = self._added(whose, "agent", remote_id, "")

        def work(connection: Connection) -> bool:
            has_place = _agents(connection, whose) < most
            if has_place:
                connection.execute(added)
            return has_place

        return await self._database.write(work)

    async def has_place(self, whose: Theirs, most: int) -> bool:
        """Whether ``add_agent`` has a chance."""
        return await self._database.read(lambda c: _agents(c, whose)) < most

    async def add_job(self, whose: Theirs, remote_id: str, job: str, most: int) -> bool:
        """Note whose a job is, and that it runs; False when ``most`` of theirs do."""
        running = select(func.count()).where(*_of(whose, "training_running"))
        added = [
            self._added(whose, kind, remote_id, job)
            for kind in ("training_job", "training_running")
        ]

        def work(connection: Connection) -> bool:
            if connection.execute(running).scalar_one() >= most:
                return False
            for statement in added:
                connection.execute(statement)
            return True

        return await self._database.write(work)

    def _added(self, whose: Theirs, kind: Kind, remote_id: str, parent: str) -> Any:
        added = self._database.insert(forwarded).values(
            kind=kind,
            parent_id=parent,
            remote_id=remote_id,
            owner=whose.owner,
            tenant=whose.tenant,
            created_at=now(),
        )
        new = {name: added.excluded[name] for name in ("owner", "tenant", "created_at")}
        return added.on_conflict_do_update(index_elements=forwarded.primary_key, set_=new)

    async def owns(self, whose: Theirs, kind: Kind, remote_id: str, parent: str = "") -> bool:
        """Whether there is such a thing, and it is theirs."""
        query = select(forwarded.c.remote_id).where(
            *_of(whose, kind),
            forwarded.c.parent_id == parent,
            forwarded.c.remote_id == remote_id,
        )
        return await self._database.read(lambda c: c.execute(query).first()) is not None

    async def owns_session(self, whose: Theirs, agent_id: str, session_id: str) -> bool:
        """Whether the session is theirs, and the agent that it is of."""
        agent = forwarded.alias()
        query = (
            select(agent.c.remote_id)
            .join(forwarded, forwarded.c.parent_id == agent.c.remote_id)
            .where(
                *_of(whose, "session"),
                forwarded.c.parent_id == agent_id,
                forwarded.c.remote_id == session_id,
                agent.c.owner == whose.owner,
                agent.c.tenant == whose.tenant,
                agent.c.kind == "agent",
            )
        )
        return await self._database.read(lambda c: c.execute(query).first()) is not None

    async def count(self, whose: Theirs, kind: Kind) -> int:
        """Return how many things of a kind are theirs."""
        query = select(func.count()).where(*_of(whose, kind))
        return await self._database.read(lambda c: c.execute(query).scalar_one())

    async def list(
        self, whose: Theirs, kind: Kind, parent: str | None, start: int, limit: int
    ) -> Sequence[Kept]:
        """Return up to ``limit`` things from the ``start``th on, the oldest first; of any or one parent."""
        c = forwarded.c
        query = (
            select(c.remote_id, c.parent_id, c.created_at)
            .where(*_of(whose, kind), *(() if parent is None else (c.parent_id == parent,)))
            .order_by(c.created_at, c.remote_id)
            .offset(start)
            .limit(limit)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [Kept(*row) for row in rows]

    async def remove(
        self, whose: Theirs, kind: Kind, remote_ids: Collection[str], parent: str = ""
    ) -> None:
        """Forget things of one parent; with agents their sessions go."""
        c = forwarded.c
        gone = forwarded.delete().where(
            *_of(whose, kind), c.parent_id == parent, c.remote_id.in_(remote_ids)
        )
        sessions = forwarded.delete().where(*_of(whose, "session"), c.parent_id.in_(remote_ids))

        def work(connection: Connection) -> None:
            connection.execute(gone)
            if kind == "agent":
                connection.execute(sessions)

        if remote_ids:
            await self._database.write(work)


def _agents(connection: Connection, whose: Theirs) -> int:
    """Count the agents of an owner: those that the server keeps, and those that are kept here."""
    there = select(func.count()).where(*_of(whose, "agent")).scalar_subquery()
    here = (
        select(func.count())
        .where(agents.c.owner == whose.owner, agents.c.tenant == whose.tenant)
        .scalar_subquery()
    )
    return int(connection.execute(select(there + here)).scalar_one())


def _of(whose: Theirs, kind: Kind) -> tuple[ColumnElement[bool], ...]:
    c = forwarded.c
    return c.owner == whose.owner, c.tenant == whose.tenant, c.kind == kind
