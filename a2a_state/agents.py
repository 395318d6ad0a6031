"""Agents, as Llama Stack's agents API has them: those that callers make, and that of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    Row,
    String,
    Table,
    bindparam,
    func,
    select,
)

from a2a_state.tables import contexts, metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from a2a_state.database import Database

agents = Table(
    "agents",
    metadata,
    Column("agent_id", String, primary_key=True),
    # Both empty for an agent of the settings, which serves every owner.
    Column("owner", String, nullable=False),
    Column("tenant", String, nullable=False),
    Column("agent_config", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_agents_owner", "owner", "tenant", "created_at"),
)

type Json = Any


class Agent(msgspec.Struct, frozen=True):
    """An agent. Times are milliseconds since the epoch."""

    agent_id: str
    owner: str
    tenant: str
    agent_config: Json
    created_at: int


# Built once: building a statement costs more than running it.
_MINE = (agents.c.owner == bindparam("b_owner")) & (agents.c.tenant == bindparam("b_tenant"))
_GET = select(agents).where(_MINE, agents.c.agent_id == bindparam("b_agent"))


class Agents:
    """The agents of all owners; what is another owner's is not found."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def add(self, agent: Agent, most: int) -> bool:
        """Store a new agent; returns False when its owner has as many as ``most``."""
        counted = (
            select(func.count())
            .select_from(agents)
            .where(agents.c.owner == agent.owner, agents.c.tenant == agent.tenant)
        )

        def work(connection: Connection) -> bool:
            if connection.execute(counted).scalar_one() >= most:
                return False
            connection.execute(agents.insert(), row_of(agent))
            return True

        return await self._database.write(work)

    async def began(self, agent: Agent) -> int:
        """Store an agent unless it is there; returns when it was made, in ms since the epoch."""
        insert = self._database.insert(agents).values(row_of(agent)).on_conflict_do_nothing()
        since = select(agents.c.created_at).where(agents.c.agent_id == agent.agent_id)

        def work(connection: Connection) -> int:
            connection.execute(insert)
            return int(connection.execute(since).scalar_one())

        return await self._database.write(work)

    async def get(self, owner: str, tenant: str, agent_id: str) -> Agent | None:
        """Return the owner's agent, or None."""
        key = {"b_owner": owner, "b_tenant": tenant, "b_agent": agent_id}
        row = await self._database.read(lambda c: c.execute(_GET, key).first())
        return None if row is None else agent_of(row)

    async def list(self, owner: str, tenant: str, start: int, limit: int) -> Sequence[Agent]:
        """Return up to ``limit`` agents of the owner from the ``start``th on, the oldest first."""
        query = (
            select(agents)
            .where(agents.c.owner == owner, agents.c.tenant == tenant)
            .order_by(agents.c.created_at, agents.c.agent_id)
            .offset(start)
            .limit(limit)
        )
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [agent_of(row) for row in rows]

    async def delete(self, owner: str, tenant: str, agent_id: str) -> bool:
        """Delete an agent that has no sessions any more; returns whether it is gone."""
        # Locked: who begins a session of it waits, or is seen.
        this = (
            select(agents.c.agent_id)
            .where(
                agents.c.agent_id == agent_id, agents.c.owner == owner, agents.c.tenant == tenant
            )
            .with_for_update()
        )

        def work(connection: Connection) -> bool:
            connection.execute(this).all()
            its_sessions = select(contexts.c.context_id).where(
                contexts.c.owner == owner,
                contexts.c.tenant == tenant,
                contexts.c.agent_id == agent_id,
            )
            if connection.execute(its_sessions.limit(1)).first() is not None:
                return False
            connection.execute(
                agents.delete().where(
                    agents.c.agent_id == agent_id,
                    agents.c.owner == owner,
                    agents.c.tenant == tenant,
                )
            )
            return True

        return await self._database.write(work)


def agent_of(row: Row[Any]) -> Agent:
    """Read a row of ``agents``."""
    values = row._asdict()
    return Agent(**values | {"agent_config": msgspec.json.decode(values["agent_config"])})


def row_of(agent: Agent) -> dict[str, Any]:
    """Write a row of ``agents``."""
    encoded = msgspec.json.encode(agent.agent_config)
    return msgspec.structs.asdict(agent) | {"agent_config": encoded}
