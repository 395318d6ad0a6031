"""Conversations as REST shows them: the contexts of A2A, with what was said in them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from a2a_state.histories import ContextKey, ConversationSearch
from agent.auth.access import EVERYBODY
from agent.caller import Caller  # noqa: TC001 - msgspec resolves the annotations of fields
from agent.conversation_ids import is_conversation_id, new_public_id
from agent.conversation_reader import ConversationReader
from agent.errors import (
    ResourceNotFound,
    StateError,
    TaskNotCancelable,
    TaskNotFound,
    UnsupportedOperation,
)
from agent.model import TaskRequest
from agent.others import DELETE, READ, may_list
from agent.public_ids import name_of, named

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from a2a_state.database import Database
    from a2a_state.histories import FoundConversation
    from agent.conversation_cache import ConversationCache
    from agent.conversation_turns import Turn
    from agent.service import Service
    from agent.settings.own import Limits

logger = logging.getLogger(__name__)

KIND = "conversation"
CANCEL_SECONDS = 30.0
"""How long a deletion waits for what runs in the conversation to give up."""

FEW = 100
"""Conversations that are looked through at once: going to a thread takes as long."""

AT_ONCE = 50
"""Most tasks that are canceled at a time."""


class Conversation(msgspec.Struct, frozen=True):
    """A conversation that was found; ``caller`` is who to act as: the owner, or somebody for them.

    ``created_at`` is in ms since the epoch.
    """

    caller: Caller
    context_id: str
    conversation_id: str
    topic_summary: str | None
    created_at: int


class ListedConversation(msgspec.Struct, frozen=True):
    """A conversation in a list; times are in ms since the epoch.

    ``messages`` counts those of users; ``model`` is the last that answered, as provider/model.
    """

    conversation_id: str
    topic_summary: str | None
    created_at: int
    last_message_at: int
    messages: int
    model: str | None


class Histories:
    """The conversations of all owners; each method sees those of its caller."""

    def __init__(
        self,
        database: Database,
        service: Service,
        limits: Limits,
        cache: ConversationCache | None = None,
    ) -> None:
        """``cache`` is told of topics; None where there is none."""
        self._search = ConversationSearch(database)
        self._reader = ConversationReader(self._search, limits.answer_bytes)
        self._service = service
        self.cache = cache
        # What is being deleted is not found any more: who waits for its tasks would learn that they end.
        self._leaving: dict[tuple[str, str, str], asyncio.Event] = {}

    async def find(
        self, caller: Caller, conversation_id: str, action: str | None = READ
    ) -> Conversation:
        """Return a conversation of the caller's, or of another's if they may take ``action`` on those.

        Their own is meant where several are called so. Raises ``ResourceNotFound``.
        """
        found = await self._find(caller, conversation_id, action)
        if _key_of(found) in self._leaving:
            raise ResourceNotFound(KIND, conversation_id)
        return found

    async def _find(self, caller: Caller, conversation_id: str, action: str | None) -> Conversation:
        if not is_conversation_id(conversation_id):
            raise ResourceNotFound(KIND, conversation_id)
        tenant = caller.tenant
        context = await self._search.find(caller.owner, tenant, conversation_id)
        if context is None and action in caller.actions:
            context = await self._search.find_anybodys(tenant, conversation_id)
        if context is None:
            raise ResourceNotFound(KIND, conversation_id)
        if context.owner != caller.owner:
            caller = caller.acting_for(context.owner)
        caller.note("context_id", context.context_id)
        topic, created_at = context.topic_summary, context.created_at
        return Conversation(caller, context.context_id, conversation_id, topic, created_at)

    async def conversation_id_of(self, caller: Caller, context_id: str) -> str:
        """Return how REST calls a context; raises ``ResourceNotFound`` for one that is not there."""
        if is_conversation_id(context_id):
            return context_id
        key = ContextKey(caller.owner, caller.tenant, context_id)
        context = await named(self._search, key)
        conversation_id = None if context is None else name_of(context)
        if conversation_id is None:
            raise ResourceNotFound(KIND, context_id)
        return conversation_id

    async def set_topic(self, caller: Caller, context_id: str, text: str) -> None:
        """Name the topic of a context; raises ``ResourceNotFound``."""
        key = ContextKey(caller.owner, caller.tenant, context_id)
        if not await self._search.set_topic(key, text):
            raise ResourceNotFound(KIND, context_id)
        if self.cache is None:
            return
        conversation_id = await self.conversation_id_of(caller, context_id)
        try:
            await self.cache.set_topic(caller.owner, caller.tenant, conversation_id, text)
        except StateError:
            logger.exception("The topic of a conversation is not in the cache")

    async def list(self, caller: Caller, *, own: bool = False) -> Sequence[ListedConversation]:
        """Return the latest conversations, of which the caller's own begin with the last.

        Those of others are among them if the caller may, and did not ask for their ``own``.
        """
        everybodys = may_list(caller) and not own
        if everybodys and caller.trail is not None:
            caller.trail.owner = EVERYBODY
        owner = None if everybodys else caller.owner
        listed, nameless = await _apart(_named, await self._search.latest(owner, caller.tenant))
        if nameless:
            await self._search.name({key: new_public_id() for key in nameless})
            found = await self._search.latest(owner, caller.tenant)
            listed, _ = await _apart(_named, found)
        return listed

    async def turns(self, conversation: Conversation) -> Sequence[Turn]:
        """Return what was said, in order; the latest of it if that is much."""
        return await self._reader.of_context(_key_of(conversation))

    async def delete(
        self, caller: Caller, conversation_id: str, action: str | None = DELETE
    ) -> bool:
        """Delete a conversation, whatever runs in it, on all surfaces; returns whether it was there.

        Raises ``UnsupportedOperation`` when something in it does not give up in time.
        """
        try:
            found = await self._find(caller, conversation_id, action)
        except ResourceNotFound:
            return False
        key = _key_of(found)
        if (others := self._leaving.get(key)) is not None:
            await others.wait()
            # It is gone, or they could not delete it.
            return await self.delete(caller, conversation_id, action)
        ended = self._leaving[key] = asyncio.Event()
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                while not await self._delete(found):
                    pass
        except TaskNotFound:
            # Somebody else was first.
            return False
        except TimeoutError as exc:
            raise UnsupportedOperation("A task of the conversation does not end") from exc
        finally:
            del self._leaving[key]
            ended.set()
        return True

    async def _delete(self, found: Conversation) -> bool:
        """Cancel what runs, and delete the rest; returns whether nothing has begun meanwhile."""
        running = await self._search.unended(_key_of(found), AT_ONCE)
        await asyncio.gather(*(self._cancel(found.caller, task_id) for task_id in running))
        try:
            await self._service.delete_context(found.caller, found.context_id, found.caller.tenant)
        except UnsupportedOperation:
            return False
        return True

    async def _cancel(self, caller: Caller, task_id: str) -> None:
        try:
            await self._service.cancel(caller, TaskRequest(task_id, caller.tenant))
        except (TaskNotFound, TaskNotCancelable):
            logger.debug("Task %s has ended by itself", task_id)


def _key(found: FoundConversation) -> ContextKey:
    return ContextKey(found.owner, found.tenant, found.context_id)


def _key_of(conversation: Conversation) -> ContextKey:
    caller = conversation.caller
    return ContextKey(caller.owner, caller.tenant, conversation.context_id)


async def _apart[T](
    work: Callable[[list[FoundConversation]], T], found: list[FoundConversation]
) -> T:
    """Do much work in a thread, for the sake of those who wait for the event loop."""
    return work(found) if len(found) <= FEW else await asyncio.to_thread(work, found)


def _named(
    found: Sequence[FoundConversation],
) -> tuple[Sequence[ListedConversation], Sequence[ContextKey]]:
    """Return the conversations that have names, and those that have none."""
    names = [(one, name_of(one)) for one in found]
    listed = [_listed(one, name) for one, name in names if name is not None]
    return listed, [_key(one) for one, name in names if name is None]


def _listed(found: FoundConversation, conversation_id: str) -> ListedConversation:
    return ListedConversation(
        conversation_id=conversation_id,
        topic_summary=found.topic_summary,
        created_at=found.created_at,
        last_message_at=found.last_message_at,
        messages=found.messages,
        model=found.model,
    )
