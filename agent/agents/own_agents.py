"""The agents API over A2A: sessions are contexts, turns are tasks, on whatever stack runs them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from a2a_state.agents import Agent, Agents
from agent.agents.agent_config import with_defaults
from agent.agents.own_sessions import OwnSessions, shown_session
from agent.agents.own_turns import OwnTurns
from agent.agents.serial import Serial
from agent.agents.settings_agent import SettingsAgent
from agent.agents.wire import written
from agent.clock import now
from agent.errors import ResourceNotFound, UnsupportedOperation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.agents.base import Json, NewTurn, TurnStream
    from agent.agents.fetch import Fetch
    from agent.caller import Caller
    from agent.engine import Engine
    from agent.histories import Histories
    from agent.settings import Settings

URL = "/v1alpha/agents"
OURS = "The agent of the settings cannot be deleted"


class OwnAgents:
    """See ``AgentsApi``. The agent of the settings is everybody's; its sessions are their contexts."""

    def __init__(
        self, settings: Settings, engine: Engine, histories: Histories, fetch: Fetch
    ) -> None:
        """``fetch`` gets documents and images that are only named."""
        self._agents = Agents(engine.database)
        self._house = SettingsAgent(settings, self._agents, engine.stack)
        self.settings_agent_id = self._house.agent_id
        """The agent that A2A talks to."""
        database, seconds = engine.database, settings.limits.turn_seconds
        self.serial = Serial(database, engine.runner, seconds, alone=database.in_memory)
        """Has the turns of a session follow each other."""
        self._most = settings.experimental.agents_per_owner
        self._sessions = OwnSessions(engine, histories, self.settings_agent_id)
        self._turns = OwnTurns(settings, engine, self._sessions, self.serial, fetch)

    async def create(self, caller: Caller, agent_config: Json) -> Json:
        """See ``AgentsApi``."""
        config = with_defaults(agent_config)
        agent = Agent(str(uuid.uuid4()), caller.owner, caller.tenant, config, now())
        if not await self._agents.add(agent, self._most):
            raise UnsupportedOperation(f"You have {self._most} agents already: delete some first")
        return {"agent_id": agent.agent_id}

    async def list(self, caller: Caller, start: int, limit: int) -> Json:
        """See ``AgentsApi``."""
        found = [] if start else [_shown(await self._house.get())]
        rest = limit + 1 - len(found)
        made = await self._agents.list(caller.owner, caller.tenant, max(start - 1, 0), rest)
        found += [_shown(agent) for agent in made]
        return {"data": found[:limit], "has_more": len(found) > limit, "url": URL}

    async def get(self, caller: Caller, agent_id: str) -> Json:
        """See ``AgentsApi``."""
        if agent_id == self.settings_agent_id:
            return _shown(await self._house.get())
        agent = await self._agents.get(caller.owner, caller.tenant, agent_id)
        if agent is None:
            raise ResourceNotFound("agent", agent_id)
        return _shown(agent)

    async def delete(self, caller: Caller, agent_id: str) -> None:
        """See ``AgentsApi``; raises ``UnsupportedOperation`` for the agent of the settings."""
        if agent_id == self.settings_agent_id:
            raise UnsupportedOperation(OURS)
        while not await self._agents.delete(caller.owner, caller.tenant, agent_id):
            await self._sessions.delete_all(caller, agent_id)

    async def create_session(self, caller: Caller, agent_id: str, name: str) -> Json:
        """See ``AgentsApi``."""
        return {"session_id": await self._sessions.create(caller, agent_id, name)}

    async def list_sessions(self, caller: Caller, agent_id: str, start: int, limit: int) -> Json:
        """See ``AgentsApi``."""
        await self.get(caller, agent_id)
        return await self._sessions.list(caller, agent_id, start, limit)

    async def get_session(
        self, caller: Caller, agent_id: str, session_id: str, turn_ids: Sequence[str] | None
    ) -> Json:
        """See ``AgentsApi``."""
        session = await self._sessions.find(caller, agent_id, session_id)
        return shown_session(session, await self._turns.of_session(caller, session, turn_ids))

    async def delete_session(self, caller: Caller, agent_id: str, session_id: str) -> None:
        """See ``AgentsApi``."""
        await self._sessions.delete(caller, agent_id, session_id)

    async def create_turn(
        self, caller: Caller, agent_id: str, session_id: str, turn: NewTurn
    ) -> TurnStream:
        """See ``AgentsApi``."""
        return await self._turns.create(caller, agent_id, session_id, turn)

    async def resume_turn(
        self,
        caller: Caller,
        agent_id: str,
        session_id: str,
        turn_id: str,
        tool_responses: Sequence[Json],
    ) -> TurnStream:
        """See ``AgentsApi``."""
        return await self._turns.resume(caller, agent_id, session_id, turn_id, tool_responses)

    async def get_turn(self, caller: Caller, agent_id: str, session_id: str, turn_id: str) -> Json:
        """See ``AgentsApi``."""
        return await self._turns.get(caller, agent_id, session_id, turn_id)

    async def get_step(
        self, caller: Caller, agent_id: str, session_id: str, turn_id: str, step_id: str
    ) -> Json:
        """See ``AgentsApi``."""
        turn = await self._turns.get(caller, agent_id, session_id, turn_id)
        step = next((step for step in turn["steps"] if step["step_id"] == step_id), None)
        if step is None:
            raise ResourceNotFound("step", step_id)
        return {"step": step}


def _shown(agent: Agent) -> Json:
    return {
        "agent_id": agent.agent_id,
        "agent_config": agent.agent_config,
        "created_at": written(agent.created_at),
    }
