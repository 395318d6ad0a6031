"""Sessions of agents: contexts, as the agents API lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import select

from a2a_state.agents import agents
from a2a_state.contexts import Context
from a2a_state.tables import contexts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection

    from a2a_state.database import Database


class AgentSessions:
    """The sessions of all owners; ``agent_id`` None means the agent of the settings."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def add(self, context: Context) -> bool:
        """Store a new session; returns False when its agent is not there."""
        agent = (
            select(agents.c.agent_id)
            .where(
                agents.c.agent_id == context.agent_id,
                agents.c.owner == context.owner,
                agents.c.tenant == context.tenant,
            )
            # Nobody deletes the agent before this is stored.
            .with_for_update(read=True)
        )

        def work(connection: Connection) -> bool:
            if context.agent_id is not None and connection.execute(agent).first() is None:
                return False
            connection.execute(contexts.insert(), msgspec.structs.asdict(context))
            return True

        return await self._database.write(work)

    async def list(
        self, owner: str, tenant: str, agent_id: str | None, start: int, limit: int
    ) -> Sequence[Context]:
        """Return up to ``limit`` sessions of the agent from the ``start``th on, the oldest first."""
        query = (
            select(contexts)
            .where(*_of(owner, tenant, agent_id))
            .order_by(contexts.c.created_at, contexts.c.context_id)
            .offset(start)
            .limit(limit)
        )
        return await self._database.read(lambda c: [Context(*row) for row in c.execute(query)])


def _of(owner: str, tenant: str, agent_id: str | None) -> tuple[ColumnElement[bool], ...]:
    its = contexts.c.agent_id.is_(None) if agent_id is None else contexts.c.agent_id == agent_id
    return contexts.c.owner == owner, contexts.c.tenant == tenant, its
