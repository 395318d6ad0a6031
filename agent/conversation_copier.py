"""Copies what tasks say into the conversation cache, many at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from a2a_state.conversation_cache import CachedConversation, CachedTask, CachedTurn
from a2a_state.copy_source import Called, CopySource
from a2a_state.histories import ConversationSearch
from agent.conversation_ids import new_public_id
from agent.conversation_reader import ConversationReader
from agent.model import SETTLED
from agent.public_ids import name_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from a2a_state.contexts import Context
    from a2a_state.conversation_cache import CachedConversations
    from a2a_state.copy_source import Standing, TaskKey
    from a2a_state.database import Database
    from a2a_state.histories import ContextKey
    from agent.conversation_turns import Turn

PAGE = 500
"""Conversations that are compared at once."""

MOST_TURNS = 1000
"""Most turns of a conversation that are kept: the latest."""

_STATES = frozenset(state.value for state in SETTLED)


class ConversationCopier:
    """Reads tasks as they are stored: copying again changes nothing, and what is no more is deleted."""

    def __init__(self, state: Database, cached: CachedConversations, most_bytes: int) -> None:
        """``most_bytes`` of tasks are read at once; one alone may be larger."""
        self._source = CopySource(state)
        self._search = ConversationSearch(state)
        self._reader = ConversationReader(self._search, most_bytes)
        self._cached = cached
        self._forgets = state.in_memory
        self._most_bytes = most_bytes

    async def settled(self, after: str, most: int) -> tuple[list[TaskKey], str | None]:
        """Return the next tasks behind an id that may be copied, and where to go on."""
        return await self._source.settled(_STATES, after, most)

    async def copy(self, keys: Sequence[TaskKey]) -> Sequence[TaskKey]:
        """Copy tasks; returns those that were too much for once."""
        before = await self._named(keys)
        chosen = list(_that_fit(keys, before.sizes, self._most_bytes))
        there = [key for key in chosen if key.context in before.contexts]
        stored = [key for key in there if key.task_id in before.sizes]
        if copies := await self._copies(stored, before.contexts):
            await self._cached.put(copies, MOST_TURNS)
        await self._look_again(there, before.contexts)
        return keys[len(chosen) :]

    async def standing(self, called: Sequence[Called]) -> Collection[Called]:
        """Return those conversations that there are, as far as the state can tell."""
        return frozenset(called) if self._forgets else await self._source.called(called)

    async def forget(self, called: Called) -> None:
        """Delete the copy of a conversation, unless there is one of that name by now."""
        if called not in await self._source.called([called]):
            await self._cached.forget(*called)

    async def clean(self) -> None:
        """Delete the copies of conversations that are no more; a state that is new has deleted none."""
        if self._forgets or await self._source.is_empty():
            return
        after = Called("", "", "")
        while page := await self._cached.names(after, PAGE):
            after = page[-1]
            there = await self._source.called(page)
            for gone in page:
                if gone not in there:
                    await self._cached.forget(*gone)

    async def _named(self, keys: Sequence[TaskKey]) -> Standing:
        """Return what is there of the tasks and their contexts, which all have names from now on."""
        contexts = {key.context for key in keys}
        found = await self._source.standing(contexts, keys)
        nameless = [key for key, context in found.contexts.items() if name_of(context) is None]
        if not nameless:
            return found
        await self._search.name({key: new_public_id() for key in nameless})
        # Somebody else may have been first.
        return await self._source.standing(contexts, keys)

    async def _copies(
        self, keys: Sequence[TaskKey], contexts: Mapping[ContextKey, Context]
    ) -> list[CachedTask]:
        bodies = await self._source.bodies(keys) if keys else {}
        copies = []
        for key in keys:
            if (body := bodies.get(key.task_id)) is None:
                continue
            owner, tenant, _ = key.context
            if turns := await self._reader.of_body(owner, tenant, body):
                copies.append(_copy(contexts[key.context], key.task_id, turns))
        return copies

    async def _look_again(
        self, keys: Sequence[TaskKey], before: Mapping[ContextKey, Context]
    ) -> None:
        """Follow what has happened while tasks were copied: in another process, it may be."""
        if not keys:
            return
        contexts = {key.context for key in keys}
        found = await self._source.standing(contexts, keys)
        for context in contexts:
            if context in found.contexts:
                await self._follow_topic(before[context], found.contexts[context])
            elif (called := name_of(before[context])) is not None:
                await self._cached.forget(context.owner, context.tenant, called)
        for key in keys:
            called = name_of(before[key.context])
            if key.task_id not in found.sizes and called is not None:
                owner, tenant, _ = key.context
                await self._cached.forget_task(owner, tenant, called, key.task_id)

    async def _follow_topic(self, before: Context, context: Context) -> None:
        topic, called = context.topic_summary, name_of(context)
        if topic is not None and topic != before.topic_summary and called is not None:
            await self._cached.set_topic(context.owner, context.tenant, called, topic)


def _that_fit(keys: Sequence[TaskKey], sizes: Mapping[str, int], room: int) -> Sequence[TaskKey]:
    """Return the first tasks, as many as there is room for; one at least."""
    for number, key in enumerate(keys):
        room -= sizes.get(key.task_id, 0)
        if room < 0 and number:
            return keys[:number]
    return keys


def _copy(context: Context, task_id: str, turns: Sequence[Turn]) -> CachedTask:
    conversation = CachedConversation(
        context.owner,
        context.tenant,
        name_of(context) or context.context_id,
        context.topic_summary,
        max(turn.completed_at for turn in turns),
    )
    rows = [
        CachedTurn(turn.started_at, task_id, number, msgspec.json.encode(turn))
        for number, turn in enumerate(turns)
    ]
    return CachedTask(conversation, task_id, rows)
