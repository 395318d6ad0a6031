"""How many tasks run at once, for each owner and in all; who comes too late waits a little.

As many may wait as may run, half of them for one owner: one alone does not take the places of all.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.errors import TooManyTasks
from agent.tally import Tally

if TYPE_CHECKING:
    from agent.settings.own import Limits

RETRY_AFTER_SECONDS = 5


class Admission:
    """Counts what runs. A place is taken with ``enter`` and given back with ``leave``."""

    def __init__(self, limits: Limits) -> None:
        """Nobody is in."""
        most, most_per_owner = limits.running_tasks, limits.running_tasks_per_owner
        self._running = Tally(most, most_per_owner)
        self._queued = Tally(most, max(most // 2, most_per_owner))
        self._seconds = limits.queue_seconds
        # A dict for its order: who came first looks first.
        self._waiting: dict[asyncio.Future[None], None] = {}

    async def enter(self, owner: str) -> None:
        """Take a place, at once or after a wait.

        Raises ``TooManyTasks`` when none became free in time, or too many wait already.
        """
        if not self.has_place(owner):
            await self._wait(owner)
        self._running.add(owner)

    def has_place(self, owner: str) -> bool:
        """Whether an owner's task may begin."""
        return self._running.has_room(owner)

    def leave(self, owner: str) -> None:
        """Give a place back."""
        self._running.take_off(owner)
        # Which of them may enter depends on whose place it was: each looks for itself, in order.
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def _wait(self, owner: str) -> None:
        if not self._queued.has_room(owner):
            raise TooManyTasks(RETRY_AFTER_SECONDS)
        self._queued.add(owner)
        try:
            async with asyncio.timeout(self._seconds):
                await self._place(owner)
        except TimeoutError as exc:
            raise TooManyTasks(RETRY_AFTER_SECONDS) from exc
        finally:
            self._queued.take_off(owner)

    async def _place(self, owner: str) -> None:
        """Wait until there is a place."""
        loop = asyncio.get_running_loop()
        while not self.has_place(owner):
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiting[waiter] = None
            try:
                await waiter
            finally:
                self._waiting.pop(waiter, None)
