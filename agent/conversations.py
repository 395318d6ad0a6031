"""Context -> conversation: parallel messages of one context get the same one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from a2a_state.contexts import Context
from agent.clock import now

if TYPE_CHECKING:
    from a2a_state.contexts import Contexts
    from agent.caller import Caller
    from agent.stacks import Stack


class Conversations:
    """The conversations of the stack that this server runs turns on."""

    def __init__(self, stack: Stack, stack_name: str, contexts: Contexts) -> None:
        """``stack_name`` marks conversations as belonging to this stack."""
        self.stack = stack
        self._stack_name = stack_name
        self._contexts = contexts
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

    async def of(self, caller: Caller, context_id: str) -> Context:
        """Return the context with its conversation, started and stored if need be."""
        key = (caller.owner, caller.tenant, context_id)
        lock = self._starting.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                known = await self._known(caller, context_id)
                if known is not None:
                    return known
                context = await self.start(caller, context_id)
                return await self._contexts.add(context)
        finally:
            if not lock.locked():
                self._starting.pop(key, None)

    async def _known(self, caller: Caller, context_id: str) -> Context | None:
        known = await self._contexts.get(caller.owner, caller.tenant, context_id)
        return None if known is None or known.stack != self._stack_name else known
