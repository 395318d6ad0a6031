"""Whose agents answer: the Llama Stack's, where it has the agents API, or this server's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from agent.agents.base import AgentsApi
from agent.engines.told import tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.agents.base import Json, NewTurn, TurnStream
    from agent.agents.forwarded import ForwardedAgents
    from agent.caller import Caller
    from agent.engines.engines import Engines


class OwnApi(AgentsApi, Protocol):
    """This server's own agents, of which one is that of the settings."""

    @property
    def settings_agent_id(self) -> str:
        """The agent that everybody has."""


class ChosenAgents:
    """Both behind one protocol: an agent stays where it was made, new ones are made by the table."""

    def __init__(self, own: OwnApi, forwarded: ForwardedAgents, engines: Engines) -> None:
        """Keep them."""
        self._own = own
        self._forwarded = forwarded
        self._engines = engines

    async def create(self, caller: Caller, agent_config: Json) -> Json:
        """See ``AgentsApi``."""
        if await self._forwards():
            return await self._forwarded.create(caller, agent_config)
        return await self._own.create(caller, agent_config)

    async def list(self, caller: Caller, start: int, limit: int) -> Json:
        """Return the agent of the settings, then those on the Llama Stack, then the others."""
        if not await self._forwards():
            return await self._own.list(caller, start, limit)
        there = await self._forwarded.count(caller)
        first = await self._own.list(caller, 0, 1) if start == 0 and limit else _NONE
        data = [*first["data"]]
        at = max(start - 1, 0)
        if at < there and len(data) < limit:
            page = await self._forwarded.list(caller, at, limit - len(data))
            data += page["data"]
        # Those that were lost leave gaps in the page, not in the count of the next one.
        end = start + limit
        rest_from, rest_to = max(start, 1 + there), max(end, 1 + there)
        rest = await self._own.list(caller, rest_from - there, max(rest_to - rest_from, 1))
        if rest_to > rest_from:
            data += rest["data"]
            return {"data": data, "has_more": rest["has_more"], "url": rest["url"]}
        more = end < 1 + there or bool(rest["data"])
        return {"data": data, "has_more": more, "url": rest["url"]}

    async def get(self, caller: Caller, agent_id: str) -> Json:
        """See ``AgentsApi``."""
        return await (await self._of(caller, agent_id)).get(caller, agent_id)

    async def delete(self, caller: Caller, agent_id: str) -> None:
        """See ``AgentsApi``."""
        await (await self._of(caller, agent_id)).delete(caller, agent_id)

    async def create_session(self, caller: Caller, agent_id: str, name: str) -> Json:
        """See ``AgentsApi``."""
        return await (await self._of(caller, agent_id)).create_session(caller, agent_id, name)

    async def list_sessions(self, caller: Caller, agent_id: str, start: int, limit: int) -> Json:
        """See ``AgentsApi``."""
        chosen = await self._of(caller, agent_id)
        return await chosen.list_sessions(caller, agent_id, start, limit)

    async def get_session(
        self, caller: Caller, agent_id: str, session_id: str, turn_ids: Sequence[str] | None
    ) -> Json:
        """See ``AgentsApi``."""
        chosen = await self._of(caller, agent_id)
        return await chosen.get_session(caller, agent_id, session_id, turn_ids)

    async def delete_session(self, caller: Caller, agent_id: str, session_id: str) -> None:
        """See ``AgentsApi``."""
        chosen = await self._of(caller, agent_id)
        await chosen.delete_session(caller, agent_id, session_id)

    async def create_turn(
        self, caller: Caller, agent_id: str, session_id: str, turn: NewTurn
    ) -> TurnStream:
        """See ``AgentsApi``."""
        chosen = await self._of(caller, agent_id)
        return await chosen.create_turn(caller, agent_id, session_id, turn)

    async def resume_turn(
        self,
        caller: Caller,
        agent_id: str,
        session_id: str,
        turn_id: str,
        tool_responses: Sequence[Json],
    ) -> TurnStream:
        """See ``AgentsApi``."""
        chosen = await self._of(caller, agent_id)
        return await chosen.resume_turn(caller, agent_id, session_id, turn_id, tool_responses)

    async def get_turn(self, caller: Caller, agent_id: str, session_id: str, turn_id: str) -> Json:
        """See ``AgentsApi``."""
        chosen = await self._of(caller, agent_id)
        return await chosen.get_turn(caller, agent_id, session_id, turn_id)

    async def get_step(
        self, caller: Caller, agent_id: str, session_id: str, turn_id: str, step_id: str
    ) -> Json:
        """See ``AgentsApi``."""
        chosen = await self._of(caller, agent_id)
        return await chosen.get_step(caller, agent_id, session_id, turn_id, step_id)

    async def _forwards(self) -> bool:
        """Whether new agents are the Llama Stack's, which then answers this request."""
        forwards = await self._engines.forwards("agents")
        tell("agents", "forwarded" if forwards else "emulated")
        return forwards

    async def _of(self, caller: Caller, agent_id: str) -> AgentsApi:
        """Return what has an agent. Those on a Llama Stack that lost the agents API are gone with it."""
        mine = agent_id != self._own.settings_agent_id
        if mine and await self._forwarded.has(caller, agent_id) and await self._forwards():
            return self._forwarded
        tell("agents", "emulated")
        return self._own


_NONE: dict[str, list[Json]] = {"data": []}
