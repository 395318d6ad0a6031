"""What serves the agents API: ours, over A2A's contexts and tasks, or a Llama Stack that has it.

Values go in and come out as the API writes them (Llama Stack 0.3.5, ``/v1alpha/agents``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from agent.caller import Caller

type Json = Any


class NewTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn to be made, as its request has it: checked for its form, and for nothing else.

    ``messages`` are user and tool messages; no ``toolgroups`` leave the agent its own.
    """

    messages: tuple[Json, ...]
    documents: tuple[Json, ...] = ()
    toolgroups: tuple[Json, ...] | None = None
    tool_config: Json = None


class TurnStream(Protocol):
    """A turn, which begins when it is read: whoever has one closes it. One that has begun goes on."""

    def chunks(self) -> AsyncIterator[Json]:
        """Yield ``{"event": {"payload": {...}}}``; the last is turn_complete or turn_awaiting_input.

        Waits until those before it in the session are over. Raises ``AgentError`` when the turn cannot
        begin, or fails.
        """

    async def aclose(self) -> None:
        """Hear no more of it."""


class AgentsApi(Protocol):
    """The twelve operations. What is another owner's raises ``ResourceNotFound``, as what is not there."""

    async def create(self, caller: Caller, agent_config: Json) -> Json:
        """Make an agent; returns ``{"agent_id"}``."""

    async def list(self, caller: Caller, start: int, limit: int) -> Json:
        """Return ``{"data", "has_more", "url"}``: the agent of the settings, then those of the caller."""

    async def get(self, caller: Caller, agent_id: str) -> Json:
        """Return ``{"agent_id", "agent_config", "created_at"}``."""

    async def delete(self, caller: Caller, agent_id: str) -> None:
        """Delete an agent with its sessions; one that is not there is deleted."""

    async def create_session(self, caller: Caller, agent_id: str, name: str) -> Json:
        """Begin a session; returns ``{"session_id"}``."""

    async def list_sessions(self, caller: Caller, agent_id: str, start: int, limit: int) -> Json:
        """Return ``{"data", "has_more", "url"}``: sessions without their turns."""

    async def get_session(
        self, caller: Caller, agent_id: str, session_id: str, turn_ids: Sequence[str] | None
    ) -> Json:
        """Return a session with its turns, or with those of them that are named."""

    async def delete_session(self, caller: Caller, agent_id: str, session_id: str) -> None:
        """Delete a session with its turns; one that is not there is deleted."""

    async def create_turn(
        self, caller: Caller, agent_id: str, session_id: str, turn: NewTurn
    ) -> TurnStream:
        """Return a turn that is to be made; raises for what can be known to be wrong with it by now."""

    async def resume_turn(
        self,
        caller: Caller,
        agent_id: str,
        session_id: str,
        turn_id: str,
        tool_responses: Sequence[Json],
    ) -> TurnStream:
        """Return what goes on with a turn; to be read by who brings exactly what it waits for."""

    async def get_turn(self, caller: Caller, agent_id: str, session_id: str, turn_id: str) -> Json:
        """Return a turn with its steps."""

    async def get_step(
        self, caller: Caller, agent_id: str, session_id: str, turn_id: str, step_id: str
    ) -> Json:
        """Return ``{"step": {...}}``."""
