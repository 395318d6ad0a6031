"""Context -> conversation: parallel messages of one context get the same one."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from a2a_state.contexts import Context
from agent.clock import now
from agent.errors import ContextNotFound, StateError, TurnFailed
from agent.known_agents import KnownAgents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.agents import Agents
    from a2a_state.contexts import Contexts
    from agent.caller import Caller
    from agent.settings import Settings
    from agent.stacks import Stack, TurnRequest

logger = logging.getLogger(__name__)

FORGET_SECONDS = 5.0
"""How long a stack may take to forget a conversation."""


class Conversations:
    """The conversations of the stack that this server runs turns on."""

    def __init__(
        self,
        stack: Stack,
        stack_name: str,
        contexts: Contexts,
        agents: Agents,
        settings: Settings,
    ) -> None:
        """``stack_name`` marks conversations as belonging to this stack."""
        self.stack = stack
        self._stack_name = stack_name
        self._contexts = contexts
        self._agents = KnownAgents(agents, settings)
        self._starting: dict[tuple[str, str, str], asyncio.Lock] = {}

    async def start(self, caller: Caller, context_id: str) -> Context:
        """Return a new context with a conversation; it is not stored yet."""
        return Context(
            owner=caller.owner,
            tenant=caller.tenant,
            context_id=context_id,
            stack=self._stack_name,
            conversation_id=await self.stack.start_conversation(caller.owner),
            created_at=now(),
        )

    async def find(self, caller: Caller, context_id: str) -> str | None:
        """Return the context's conversation on this stack, if it has one."""
        known = await self._known(caller, context_id)
        return None if known is None else known.conversation_id

    async def tokens(self, caller: Caller, context_id: str) -> int:
        """Return what the context's conversation holds, as far as anybody counts."""
        known = await self._known(caller, context_id)
        return 0 if known is None else known.tokens

    async def forget(self, context: Context) -> None:
        """Have the stack forget the conversation of a context that is no more, if that can be."""
        if context.stack == self._stack_name:
            await self._forget(context.conversation_id)

    async def forget_lost(
        self, caller: Caller, context_id: str, conversation_id: str | None
    ) -> None:
        """Have the stack forget the conversation of a turn whose context was deleted meanwhile.

        The turn may have stored it anew. What cannot be known now stays.
        """
        if conversation_id is None:
            return
        with suppress(StateError):
            if await self._contexts.get(caller.owner, caller.tenant, context_id) is None:
                await self._forget(conversation_id)

    async def with_agent(self, request: TurnRequest, context: Context) -> TurnRequest:
        """Have the agent answer whose session the context is; raises ``TurnFailed`` without it."""
        agent_id = context.agent_id or ""
        known = await self._agents.get(context.owner, context.tenant, agent_id)
        if known is None:
            raise TurnFailed("The agent of this session has been deleted.")
        options, model = known
        return msgspec.structs.replace(
            request, agent=options, model=request.model if request.model is not None else model
        )

    async def _forget(self, conversation_id: str) -> None:
        try:
            async with asyncio.timeout(FORGET_SECONDS):
                await self.stack.delete_conversation(conversation_id)
        except Exception:
            # A stack is foreign code, and what is ours is deleted already.
            logger.exception("The stack has not forgotten a conversation")

    async def of(self, caller: Caller, context_id: str) -> Context:
        """Return the context with its conversation, started and stored if need be."""
        async with self._alone(caller, context_id):
            known = await self._known(caller, context_id)
            return known or await self._contexts.add(await self.start(caller, context_id))

    async def of_known(self, caller: Caller, context_id: str) -> Context:
        """Return a context that must be there, with its conversation, which is started if need be.

        Raises ``ContextNotFound``.
        """
        async with self._alone(caller, context_id):
            context = await self._contexts.get(caller.owner, caller.tenant, context_id)
            if context is not None and context.stack != self._stack_name:
                context = await self._contexts.move(await self.start(caller, context_id))
        if context is None:
            raise ContextNotFound
        return context

    @asynccontextmanager
    async def _alone(self, caller: Caller, context_id: str) -> AsyncIterator[None]:
        """Let nobody else start the conversation of the context meanwhile."""
        key = (caller.owner, caller.tenant, context_id)
        lock = self._starting.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._starting.pop(key, None)

    async def _known(self, caller: Caller, context_id: str) -> Context | None:
        known = await self._contexts.get(caller.owner, caller.tenant, context_id)
        return None if known is None or known.stack != self._stack_name else known
