"""How many tasks run at once, for each owner and in all; who comes too late waits a little."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from agent.errors import TooManyTasks

if TYPE_CHECKING:
    from agent.settings.own import Limits

RETRY_AFTER_SECONDS = 5


class Admission:
    """Counts what runs. A place is taken with ``enter`` and given back with ``leave``."""

    def __init__(self, limits: Limits) -> None:
        """Nobody is in."""
        self._limits = limits
        self._running = 0
        self._owners: Counter[str] = Counter()
        # A dict for its order: who came first looks first.
        self._waiting: dict[asyncio.Future[None], None] = {}

    async def enter(self, owner: str) -> None:
        """Take a place, at once or after a wait.

        Raises ``TooManyTasks`` when none became free in time, or too many wait already.
        """
        if not self.has_place(owner):
            await self._wait(owner)
        self._running += 1
        self._owners[owner] += 1

    def has_place(self, owner: str) -> bool:
        """Whether an owner's task may begin."""
        return (
            self._running < self._limits.running_tasks
            and self._owners[owner] < self._limits.running_tasks_per_owner
        )

    def leave(self, owner: str) -> None:
        """Give a place back."""
        self._running -= 1
        self._owners[owner] -= 1
        if not self._owners[owner]:
            del self._owners[owner]
        # Which of them may enter depends on whose place it was: each looks for itself, in order.
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def _wait(self, owner: str) -> None:
        if len(self._waiting) >= self._limits.running_tasks:
            raise TooManyTasks(RETRY_AFTER_SECONDS)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._limits.queue_seconds):
                while not self.has_place(owner):
                    waiter: asyncio.Future[None] = loop.create_future()
                    self._waiting[waiter] = None
                    try:
                        await waiter
                    finally:
                        self._waiting.pop(waiter, None)
        except TimeoutError as exc:
            raise TooManyTasks(RETRY_AFTER_SECONDS) from exc
