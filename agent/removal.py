"""Deleting tasks and contexts wherever something is kept of them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from a2a_state.deletion import CONTEXT_IN_USE
from a2a_state.histories import ContextKey
from agent.errors import StateError, UnsupportedOperation

if TYPE_CHECKING:
    from a2a_state.contexts import Context
    from a2a_state.deletion import Deletion
    from a2a_state.histories import ConversationSearch
    from agent.conversation_cache import ConversationCache
    from agent.conversations import Conversations


class Removal:
    """Deletes from the cache of conversations, then from the database, and then on the stack.

    So nothing that was deleted is read in the cache, whenever a process stops.
    """

    def __init__(
        self,
        deletion: Deletion,
        search: ConversationSearch,
        conversations: Conversations,
        cache: ConversationCache | None = None,
    ) -> None:
        """``cache`` is None where there is none."""
        self._deletion = deletion
        self._search = search
        self._conversations = conversations
        self._cache = cache

    async def task(self, owner: str, tenant: str, task_id: str) -> None:
        """Delete a task; raises what ``Deletion.task`` does, and ``StateError`` of the cache."""
        if self._cache is None:
            await self._deletion.task(owner, tenant, task_id)
            return
        context_id = await self._search.context_of(owner, tenant, task_id)
        key = ContextKey(owner, tenant, context_id or "")
        context = None if context_id is None else await self._search.get(key)
        try:
            if context is not None:
                await self._cache.forget_task(context, task_id)
            await self._deletion.task(owner, tenant, task_id)
        finally:
            if context is not None:
                # It is there yet, or was copied meanwhile.
                self._cache.look_again(key, [task_id])

    async def context(self, owner: str, tenant: str, context_id: str) -> None:
        """Delete a context and its tasks; raises what ``Deletion.context`` does.

        A stack that cannot be reached does not keep it; a cache does, with its ``StateError``.
        """
        context = await self._search.get(ContextKey(owner, tenant, context_id))
        if context is None:
            await self._deletion.context(owner, tenant, context_id)
            return
        if self._cache is None:
            await self._deletion.context(owner, tenant, context_id)
        else:
            await self._with_copies(self._cache, context)
        await self._conversations.forget(context)

    async def _with_copies(self, cache: ConversationCache, context: Context) -> None:
        """Delete the copies first: as long as they cannot be deleted, nothing is."""
        owner, tenant, context_id = context.owner, context.tenant, context.context_id
        key = ContextKey(owner, tenant, context_id)
        if await self._search.unended(key, 1):
            raise UnsupportedOperation(CONTEXT_IN_USE)
        try:
            await cache.forget_context(context)
            await self._deletion.context(owner, tenant, context_id)
        except BaseException:
            # It may be there yet: so are the copies then.
            with suppress(StateError):
                places = await self._search.tasks(key)
                cache.look_again(key, [place.task_id for place in places])
            raise
        await cache.context_deleted(context)
