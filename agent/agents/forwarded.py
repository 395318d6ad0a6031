"""Agents that callers have made on a Llama Stack: it runs them, and this server knows whose they are."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from a2a_state.forwarded import Theirs
from agent.agents.forwarded_config import allowed
from agent.agents.forwarded_turns import ForwardedTurns, Place
from agent.errors import (
    InvalidAgentResponse,
    ResourceNotFound,
    StateError,
    UnsupportedOperation,
)
from agent.stacks.agents_api_wire import read
from agent.stacks.forward import About

if TYPE_CHECKING:
    from collections.abc import Sequence

    from a2a_state.forwarded import Forwarded
    from agent.agents.base import Json, NewTurn
    from agent.agents.fetch import Fetch
    from agent.agents.late_turn import LateTurn
    from agent.agents.serial import Serial
    from agent.caller import Caller
    from agent.inferences import Inferences
    from agent.settings import Settings
    from agent.stacks.forward import Forward

AGENTS = "/v1alpha/agents"
_AT_ONCE = 8
_ID = re.compile(r"[\w-]{1,256}", re.ASCII)


class ForwardedAgents:
    """Llama Stack's agents API by forwarding; ``AgentsApi`` says what each operation does.

    Whoever calls it with the id of an agent has asked ``has`` before: it is not asked again.
    """

    def __init__(
        self,
        forward: Forward,
        store: Forwarded,
        settings: Settings,
        inferences: Inferences,
        serial: Serial,
        fetch: Fetch,
    ) -> None:
        """Keep them; they are opened by others."""
        self._forward = forward
        self._store = store
        self._settings = settings
        self._most = settings.experimental.agents_per_owner
        self._turns = ForwardedTurns(forward, settings, inferences, serial, fetch)

    async def has(self, caller: Caller, agent_id: str) -> bool:
        """Whether the caller has made this agent there."""
        return await self._store.owns(_theirs(caller), "agent", agent_id)

    async def count(self, caller: Caller) -> int:
        """Return how many agents the caller has there."""
        return await self._store.count(_theirs(caller), "agent")

    async def create(self, caller: Caller, agent_config: Json) -> Json:
        """See ``AgentsApi``."""
        whose = _theirs(caller)
        if not await self._store.has_place(whose, self._most):
            raise self._too_many
        config = await allowed(agent_config, self._settings, self._forward.stack)
        made = await self._forward.call(
            "POST", AGENTS, About("agent", ""), json={"agent_config": config}
        )
        agent_id = _id_of(made, "agent_id")
        is_kept = False
        try:
            is_kept = await self._store.add_agent(whose, agent_id, self._most)
        finally:
            if not is_kept:  # nobody would ever find it
                await self._delete(_path(agent_id), About("agent", agent_id))
        if not is_kept:
            raise self._too_many
        return {"agent_id": agent_id}

    async def list(self, caller: Caller, start: int, limit: int) -> Json:
        """Return a page of the caller's agents; those that the server has lost are forgotten."""
        kept = await self._store.list(_theirs(caller), "agent", None, start, limit + 1)
        few = asyncio.Semaphore(_AT_ONCE)

        async def got(agent_id: str) -> Json:
            async with few:
                try:
                    about = About("agent", agent_id)
                    return await self._forward.call("GET", _path(agent_id), about)
                except ResourceNotFound:
                    await self._store.remove(_theirs(caller), "agent", [agent_id])
                    return None

        found = await asyncio.gather(*(got(each.remote_id) for each in kept[:limit]))
        data = [each for each in found if each is not None]
        return {"data": data, "has_more": len(kept) > limit, "url": AGENTS}

    async def get(self, caller: Caller, agent_id: str) -> Json:
        """See ``AgentsApi``."""
        del caller  # has asked
        return await self._forward.call("GET", _path(agent_id), About("agent", agent_id))

    async def delete(self, caller: Caller, agent_id: str) -> None:
        """See ``AgentsApi``."""
        await self._delete(_path(agent_id), About("agent", agent_id))
        await self._store.remove(_theirs(caller), "agent", [agent_id])

    async def create_session(self, caller: Caller, agent_id: str, name: str) -> Json:
        """See ``AgentsApi``."""
        made = await self._forward.call(
            "POST",
            f"{_path(agent_id)}/session",
            About("agent", agent_id),
            json={"session_name": name},
        )
        session_id = _id_of(made, "session_id")
        try:
            await self._store.add(_theirs(caller), "session", session_id, agent_id)
        except StateError:
            await self._delete(Place(agent_id, session_id).path, About("session", session_id))
            raise
        return {"session_id": session_id}

    async def list_sessions(self, caller: Caller, agent_id: str, start: int, limit: int) -> Json:
        """See ``AgentsApi``; sessions that the server has lost are forgotten."""
        whose, path = _theirs(caller), f"{_path(agent_id)}/sessions"
        # In this order: one that is made in between is not lost.
        kept = await self._store.list(whose, "session", agent_id, start, limit + 1)
        listed = await self._forward.call("GET", path, About("agent", agent_id))
        there = {each.get("session_id"): each for each in read(listed, _Listed).data}
        lost = [each.remote_id for each in kept[:limit] if each.remote_id not in there]
        await self._store.remove(whose, "session", lost, agent_id)
        data = [there[each.remote_id] for each in kept[:limit] if each.remote_id in there]
        url = f"{AGENTS}/{{agent_id}}/sessions"
        return {"data": data, "has_more": len(kept) > limit, "url": url}

    async def get_session(
        self, caller: Caller, agent_id: str, session_id: str, turn_ids: Sequence[str] | None
    ) -> Json:
        """See ``AgentsApi``."""
        place = await self._session(caller, agent_id, session_id)
        # 0.3.5 reads them from the body of the request, and nowhere else.
        wanted = None if turn_ids is None else list(turn_ids)
        return await self._forward.call("GET", place.path, place.about, json=wanted)

    async def delete_session(self, caller: Caller, agent_id: str, session_id: str) -> None:
        """See ``AgentsApi``."""
        try:
            place = await self._session(caller, agent_id, session_id)
        except ResourceNotFound:
            return
        await self._delete(place.path, place.about)
        await self._store.remove(_theirs(caller), "session", [session_id], agent_id)

    async def create_turn(
        self, caller: Caller, agent_id: str, session_id: str, turn: NewTurn
    ) -> LateTurn:
        """See ``AgentsApi``; the turn begins when it is read, and ends when it is not read any more."""
        place = await self._session(caller, agent_id, session_id)
        return self._turns.create(caller, place, turn)

    async def resume_turn(
        self,
        caller: Caller,
        agent_id: str,
        session_id: str,
        turn_id: str,
        tool_responses: Sequence[Json],
    ) -> LateTurn:
        """See ``AgentsApi``."""
        place = await self._session(caller, agent_id, session_id)
        return self._turns.resume(caller, place, turn_id, tool_responses)

    async def get_turn(self, caller: Caller, agent_id: str, session_id: str, turn_id: str) -> Json:
        """See ``AgentsApi``."""
        place = await self._session(caller, agent_id, session_id)
        about = About("turn", turn_id)
        turn = await self._forward.call("GET", f"{place.path}/turn/{_plain(about)}", about)
        if turn is None:  # 0.3.5 says so of one that is not there
            raise ResourceNotFound(*about)
        return turn

    async def get_step(
        self, caller: Caller, agent_id: str, session_id: str, turn_id: str, step_id: str
    ) -> Json:
        """See ``AgentsApi``."""
        await self.get_turn(caller, agent_id, session_id, turn_id)
        place, about = Place(agent_id, session_id), About("step", step_id)
        path = f"{place.path}/turn/{turn_id}/step/{_plain(about)}"
        return await self._forward.call("GET", path, about)

    async def _session(self, caller: Caller, agent_id: str, session_id: str) -> Place:
        if not await self._store.owns_session(_theirs(caller), agent_id, session_id):
            raise ResourceNotFound("session", session_id)
        return Place(agent_id, session_id)

    async def _delete(self, path: str, about: About) -> None:
        with suppress(ResourceNotFound):
            await self._forward.call("DELETE", path, about)

    @property
    def _too_many(self) -> UnsupportedOperation:
        return UnsupportedOperation(f"You have {self._most} agents already: delete some first")


def _theirs(caller: Caller) -> Theirs:
    return Theirs(caller.owner, caller.tenant)


def _path(agent_id: str) -> str:
    return f"{AGENTS}/{agent_id}"


def _plain(about: About) -> str:
    """Return an id of the caller's that is to be a segment of a path; the server has no other."""
    if not _ID.fullmatch(about.identifier):
        raise ResourceNotFound(*about)
    return about.identifier


def _id_of(made: Json, name: str) -> str:
    """Return the id of what the server has made, which is to be a segment of a path."""
    found = made.get(name) if isinstance(made, dict) else None
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise InvalidAgentResponse
    return found


class _Listed(msgspec.Struct):
    data: list[dict[str, object]]
