"""Writes the conversation cache in the background, however long a database stays away."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from a2a_state.retention import task_ids_from
from agent.clock import now
from agent.copy_queue import CopyQueue
from agent.errors import StateError, StateUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from a2a_state.conversation_cache import CachedConversations
    from a2a_state.copy_source import Called, TaskKey
    from agent.conversation_copier import ConversationCopier
    from agent.settings import Settings

logger = logging.getLogger(__name__)

BATCH = 50
"""Most tasks that are copied at once."""

MOST_WAITING = 10_000
"""Most tasks that wait to be copied; the others are looked for when these are copied."""

RETRY_SECONDS = (0.1, 0.5, 2.0, 5.0)
"""Pauses while a database cannot be reached; the last is repeated."""

CATCH_UP_SECONDS = 1.0
"""How long a reader waits for copies of what the owner has just said."""

LOST_SECONDS = 600.0
"""How long before the newest copy something may have ended that is not copied; beside the time of a turn."""

SWEEP_SECONDS = 3600.0
DAY_MS = 86_400_000


class CacheWriter:
    """Copies what it is told of; and what it was not, if a process died before it had done so."""

    def __init__(
        self,
        settings: Settings,
        copier: ConversationCopier,
        cached: CachedConversations,
        room: int = MOST_WAITING,
    ) -> None:
        """There is ``room`` for so many tasks that wait."""
        self._copier = copier
        self._cached = cached
        self._room = room
        memory = settings.conversation_cache.memory
        self._most = None if memory is None else memory.max_entries
        self._days = settings.retention.contexts_days
        self._lost_ms = int((settings.limits.turn_seconds + LOST_SECONDS) * 1000)
        self._waiting = CopyQueue()
        # Behind this id there may be tasks that nobody has told of.
        self._behind: str | None = None
        self._is_clean = False
        # A dict for its order.
        self._to_forget: dict[Called, None] = {}
        self._wake = asyncio.Event()
        self._closing = False
        self._given_up = 0
        self._sweep_at = 0
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start; raises ``StateError`` when it cannot be told where."""
        newest = await self._cached.newest()
        self._is_clean = newest is None
        if newest is not None:
            self._behind = task_ids_from(newest - self._lost_ms)
            self._wake.set()
        self._writer = asyncio.create_task(self._write(), name="conversation-cache")

    async def close(self, patience: float) -> None:
        """Copy what is waiting if that is possible in so many seconds, then stop."""
        self._closing = True
        self._wake.set()
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=patience)
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        if lost := self._given_up + len(self._waiting) + len(self._to_forget):
            logger.error("%d tasks are missing in the conversation cache", lost)

    def copy(self, key: TaskKey) -> None:
        """Have a task copied; or its copy deleted, if it is no more."""
        if len(self._waiting) < self._room:
            self._waiting.add(key)
        else:
            # What is smaller than this id, but no other's.
            before = key.task_id[:-1]
            self._behind = min(self._behind or before, before)
        self._wake.set()

    def forget(self, called: Called) -> None:
        """Have the copy of a conversation deleted that is no more."""
        self._to_forget[called] = None
        self._wake.set()

    async def is_current(self, owner: str) -> bool:
        """Wait a moment until what the owner has said in this process is copied; returns whether it is."""
        return await self._waiting.empty_for(owner, CATCH_UP_SECONDS)

    async def _write(self) -> None:
        await self._sweep()
        while not (self._closing and not self._waiting and not self._to_forget):
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            await self._forget_late()
            while keys := self._waiting.take(BATCH) or await self._untold():
                await self._persist(keys)
                self._waiting.done(keys)
                await self._forget_late()
            if not self._is_clean and not self._closing:
                self._is_clean = True
                await self._safely(self._copier.clean, None)
            await self._sweep()

    async def _untold(self) -> Sequence[TaskKey]:
        """Return some of those that may have been lost; nothing once all have been looked at."""
        while self._behind is not None and not self._closing:
            behind = self._behind
            work = partial(self._copier.settled, behind, BATCH)
            nothing: tuple[list[TaskKey], str | None] = ([], None)
            found, after = await self._safely(work, nothing)
            if self._behind == behind:
                # Else there are more behind an earlier one by now.
                self._behind = after
            if found:
                return found
        return ()

    async def _persist(self, keys: Sequence[TaskKey]) -> None:
        while keys:
            try:
                keys = await self._patiently(partial(self._copy, keys))
            except Exception:
                # Nobody else writes: whatever is wrong with a task, the writer goes on.
                if len(keys) == 1:
                    logger.exception("A task could not be copied into the conversation cache")
                    self._given_up += 1
                    return
                for key in keys:
                    await self._persist([key])
                return

    async def _copy(self, keys: Sequence[TaskKey]) -> Sequence[TaskKey]:
        left = await self._copier.copy(keys)
        if self._most is not None:
            await self._cached.keep_latest(self._most)
        return left

    async def _forget_late(self) -> None:
        for called in list(self._to_forget):
            await self._safely(partial(self._copier.forget, called), None)
            del self._to_forget[called]

    async def _safely[T](self, work: Callable[[], Awaitable[T]], otherwise: T) -> T:
        try:
            return await self._patiently(work)
        except Exception:
            logger.exception("The conversation cache and the state could not be compared")
            return otherwise

    async def _patiently[T](self, work: Callable[[], Awaitable[T]]) -> T:
        tries = 0
        while True:
            try:
                return await work()
            except StateUnavailable:
                if not tries:
                    logger.warning("The conversation cache waits for a database", exc_info=True)
            await asyncio.sleep(RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)])
            tries += 1

    async def _sweep(self) -> None:
        """Delete what is kept for longer than contexts are."""
        if self._days is None or now() < self._sweep_at:
            return
        self._sweep_at = now() + int(SWEEP_SECONDS * 1000)
        try:
            before = now() - int(self._days * DAY_MS)
            while await self._cached.forget_before(before):
                pass
        except StateError:
            logger.warning("What is too old stays in the conversation cache", exc_info=True)
