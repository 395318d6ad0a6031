"""LCS's conversation cache: a copy of what was said, which may be in a database of its own.

Every turn that has settled is copied, whichever surface it came by: what is read is the task as it is
stored, so that copying again changes nothing. The state says what there is: a copy of what was deleted
there is shown to nobody. But a state in memory forgets, and the cache need not.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from a2a_state.conversation_cache import CachedConversation, CachedConversations
from a2a_state.copy_source import Called, TaskKey
from a2a_state.histories import ContextKey
from a2a_state.migrate import migrate
from agent.cache_writer import MOST_WAITING, CacheWriter
from agent.conversation_copier import ConversationCopier
from agent.conversation_turns import Turn
from agent.databases import connect_to
from agent.errors import StateError
from agent.public_ids import name_of
from agent.settings.databases import A2AState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from a2a_state.contexts import Context
    from a2a_state.database import Database
    from agent.caller import Caller
    from agent.model import Task
    from agent.settings import Settings

logger = logging.getLogger(__name__)

MOST_CONVERSATIONS = 10_000
"""Most conversations in a list: the latest."""

FLUSH_SECONDS = 5.0
"""How long a server that stops goes on copying."""

_decode = msgspec.json.Decoder(Turn).decode


class ConversationCache:
    """The cache; ``open`` it before turns run, and ``close`` it after them. It is a ``TurnListener``."""

    def __init__(
        self,
        settings: Settings,
        state: Database,
        database: Database,
        *,
        patience: float = FLUSH_SECONDS,
        room: int = MOST_WAITING,
    ) -> None:
        """``state`` is where the tasks are, and ``database`` is for the cache alone.

        ``patience`` is how many seconds it goes on when it is closed; there is ``room`` for so many
        tasks that wait.
        """
        self._patience = patience
        self._most_bytes = settings.limits.answer_bytes
        self._database = database
        self._cached = CachedConversations(database)
        self._copier = ConversationCopier(state, self._cached, self._most_bytes)
        self._writer = CacheWriter(settings, self._copier, self._cached, room)

    async def open(self) -> None:
        """Reach the database, and start copying. Raises ``StateError``."""
        await self._database.open()
        await migrate(self._database)
        await self._writer.open()

    async def close(self) -> None:
        """Copy what is waiting if that is possible soon, then stop."""
        await self._writer.close(self._patience)
        await self._database.close()

    def turn_ended(self, caller: Caller, task: Task) -> None:
        """Have a task copied."""
        key = ContextKey(caller.owner, caller.tenant, task.context_id)
        self._writer.copy(TaskKey(key, task.id))

    def wait_ended(self, caller: Caller, task: Task) -> None:
        """Have a task copied that waited until it was canceled."""
        self.turn_ended(caller, task)

    async def latest(self, owner: str, tenant: str) -> list[CachedConversation]:
        """Return the owner's conversations, the latest first."""
        await self.is_current(owner)
        found = await self._cached.latest(owner, tenant, MOST_CONVERSATIONS)
        called = [Called(owner, tenant, one.conversation_id) for one in found]
        there = await self._copier.standing(called)
        return [one for one, name in zip(found, called, strict=True) if name in there]

    async def turns(self, owner: str, tenant: str, conversation_id: str) -> list[Turn] | None:
        """Return the latest of what was said, in order; None where there is no such conversation."""
        bodies = await self._cached.turns(owner, tenant, conversation_id, self._most_bytes)
        if bodies is None or not await self._is_there(owner, tenant, conversation_id):
            return None
        try:
            return [_decode(body) for body in bodies]
        except msgspec.MsgspecError as exc:
            raise StateError from exc

    async def set_topic(self, owner: str, tenant: str, conversation_id: str, text: str) -> bool:
        """Name the topic; returns whether there is such a conversation."""
        is_set = await self._cached.set_topic(owner, tenant, conversation_id, text)
        return is_set and await self._is_there(owner, tenant, conversation_id)

    async def is_current(self, owner: str) -> bool:
        """Wait a moment until what the owner has said in this process is copied; returns whether it is."""
        return await self._writer.is_current(owner)

    async def forget(self, owner: str, tenant: str, conversation_id: str) -> bool:
        """Delete a conversation; returns whether it was there."""
        return await self._cached.forget(owner, tenant, conversation_id)

    async def forget_task(self, context: Context, task_id: str) -> None:
        """Delete the turns of a task, which is about to be deleted."""
        if (called := name_of(context)) is not None:
            await self._cached.forget_task(context.owner, context.tenant, called, task_id)

    async def forget_context(self, context: Context) -> None:
        """Delete a conversation, whose context is about to be deleted."""
        if (called := name_of(context)) is not None:
            await self._cached.forget(context.owner, context.tenant, called)

    async def context_deleted(self, context: Context) -> None:
        """Delete what was copied of a context while it was deleted; now, or as soon as that is possible."""
        try:
            await self.forget_context(context)
        except StateError:
            logger.warning("A conversation will be deleted from the cache later", exc_info=True)
            name = name_of(context) or context.context_id
            self._writer.forget(Called(context.owner, context.tenant, name))

    def look_again(self, context: ContextKey, task_ids: Iterable[str]) -> None:
        """Copy tasks that were about to be deleted, if they are there; else there is no copy either."""
        for task_id in task_ids:
            self._writer.copy(TaskKey(context, task_id))

    async def _is_there(self, owner: str, tenant: str, conversation_id: str) -> bool:
        return bool(await self._copier.standing([Called(owner, tenant, conversation_id)]))


def make_cache(settings: Settings, state: Database) -> ConversationCache | None:
    """Return the cache that the settings ask for; None where the state itself is read, or nothing is."""
    cache = settings.conversation_cache
    match cache.type:
        case "memory":
            kept = A2AState(memory=True)
        case "sqlite":
            kept = A2AState(sqlite=cache.sqlite)
        case "postgres":
            kept = A2AState(postgres=cache.postgres)
        case _:
            return None
    return ConversationCache(settings, state, connect_to(kept))
