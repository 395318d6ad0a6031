"""Sessions of agents: contexts of A2A, found by whose they are and which agent answers in them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import msgspec

from a2a_state.agent_sessions import AgentSessions
from a2a_state.agents import Agents
from a2a_state.histories import ContextKey, ConversationSearch
from agent.agents.wire import written
from agent.conversation_ids import is_conversation_id, new_public_id
from agent.errors import ResourceNotFound, UnsupportedOperation
from agent.public_ids import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from a2a_state.contexts import Context
    from agent.agents.base import Json
    from agent.caller import Caller
    from agent.engine import Engine
    from agent.histories import Histories

KIND = "session"
URL = "/v1alpha/agents/{agent_id}/sessions"
AT_ONCE = 100
"""Most sessions of an agent that are looked up at once to be deleted."""


class Session(msgspec.Struct, frozen=True):
    """A session that was found; ``session_id`` is how REST calls its context."""

    session_id: str
    context: Context


class OwnSessions:
    """The sessions of all owners; each method sees those of its caller."""

    def __init__(self, engine: Engine, histories: Histories, settings_agent_id: str) -> None:
        """Keep what they are made of."""
        self._conversations = engine.conversations
        self._agents = Agents(engine.database)
        self._stored = AgentSessions(engine.database)
        self._search = ConversationSearch(engine.database)
        self._histories = histories
        self._settings_agent_id = settings_agent_id

    async def create(self, caller: Caller, agent_id: str, name: str) -> str:
        """Return the id of a new session; raises ``ResourceNotFound`` without the agent."""
        stored_id = self._stored_id(agent_id)
        if stored_id is not None and not await self._has(caller, stored_id):
            raise ResourceNotFound("agent", agent_id)
        context = await self._conversations.start(caller, str(uuid.uuid4()))
        context = msgspec.structs.replace(context, agent_id=stored_id, session_name=name)
        if not await self._stored.add(context):
            # It was deleted meanwhile.
            await self._conversations.forget(context)
            raise ResourceNotFound("agent", agent_id)
        caller.note("context_id", context.context_id)
        return context.context_id

    async def find(self, caller: Caller, agent_id: str, session_id: str) -> Session:
        """Return a session of the agent's; raises ``ResourceNotFound``."""
        context = None
        if is_conversation_id(session_id):
            context = await self._search.find(caller.owner, caller.tenant, session_id)
        if context is None or context.agent_id != self._stored_id(agent_id):
            raise ResourceNotFound(KIND, session_id)
        caller.note("context_id", context.context_id)
        return Session(session_id, context)

    async def check_there(self, caller: Caller, session_id: str) -> None:
        """Raise ``ResourceNotFound`` for a session that was deleted, or is just being deleted."""
        try:
            await self._histories.find(caller, session_id, None)
        except ResourceNotFound as exc:
            raise ResourceNotFound(KIND, session_id) from exc

    async def list(self, caller: Caller, agent_id: str, start: int, limit: int) -> Json:
        """Return a page of the agent's sessions, without their turns."""
        contexts = await self._page(caller, agent_id, start, limit + 1)
        return {
            "data": [shown_session(session, ()) for session in contexts[:limit]],
            "has_more": len(contexts) > limit,
            "url": URL,
        }

    async def delete(self, caller: Caller, agent_id: str, session_id: str) -> bool:
        """Delete a session, whatever runs in it; returns whether it was there, and the agent's."""
        try:
            await self.find(caller, agent_id, session_id)
        except ResourceNotFound:
            return False
        return await self._histories.delete(caller, session_id, None)

    async def delete_all(self, caller: Caller, agent_id: str) -> None:
        """Delete the sessions that an agent has by now; raises ``UnsupportedOperation`` if one stays."""
        in_vain = False
        while sessions := await self._page(caller, agent_id, 0, AT_ONCE):
            deleted = [await self.delete(caller, agent_id, each.session_id) for each in sessions]
            if in_vain and not any(deleted):
                raise UnsupportedOperation("A session of the agent is being deleted: try again")
            # Once is no wonder: somebody else deleted them.
            in_vain = not any(deleted)

    async def _page(
        self, caller: Caller, agent_id: str, start: int, limit: int
    ) -> Sequence[Session]:
        """Return sessions, each with a name for REST from now on."""
        of = (caller.owner, caller.tenant, self._stored_id(agent_id))
        contexts = await self._stored.list(*of, start, limit)
        nameless = [context for context in contexts if name_of(context) is None]
        if nameless:
            await self._search.name({ContextKey(*c.key): new_public_id() for c in nameless})
            # Somebody else may have been first.
            contexts = await self._stored.list(*of, start, limit)
        named = ((name_of(context), context) for context in contexts)
        return [Session(name, context) for name, context in named if name is not None]

    async def _has(self, caller: Caller, agent_id: str) -> bool:
        return await self._agents.get(caller.owner, caller.tenant, agent_id) is not None

    def _stored_id(self, agent_id: str) -> str | None:
        return None if agent_id == self._settings_agent_id else agent_id


def shown_session(session: Session, turns: Sequence[Json]) -> Json:
    """Write a session."""
    context = session.context
    name = context.session_name if context.session_name is not None else context.topic_summary
    return {
        "session_id": session.session_id,
        "session_name": name or "",
        "turns": list(turns),
        "started_at": written(context.created_at),
    }
