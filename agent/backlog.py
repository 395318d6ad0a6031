"""What is done later, in the background: nobody waits for it, and nobody's request fails with it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

logger = logging.getLogger(__name__)

MOST = 1000
"""How many items may wait."""

MOST_SIZE = 64 * 1024 * 1024
"""How large they may be together."""

FLUSH_SECONDS = 5.0
"""How long what waits has to be done when the server stops."""

TOLD_SECONDS = 60.0
"""How often losses are told of."""

TOO_MUCH = "too many of them wait"


class Backlog[Item]:
    """A bounded queue, and the one task that takes from it, some items at a time."""

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Item]], Awaitable[None]],
        *,
        batch: int = 1,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """``name`` says what the items are, for the log; ``work`` is given ``batch`` of them at most.

        What ``work`` raises ends nothing: the items are lost, and the log tells of it now and then.
        """
        self.patience = FLUSH_SECONDS
        self._name = name
        self._work = work
        self._batch = batch
        self._clock = clock
        self._waiting: deque[tuple[Item, int]] = deque()
        self._size = 0
        self._awake = asyncio.Event()
        self._working: asyncio.Task[None] | None = None
        self._is_closing = False
        self._lost = 0
        self._told_at = -TOLD_SECONDS

    async def open(self) -> None:
        """Start working."""
        self._working = asyncio.create_task(self._run(), name=self._name)

    async def close(self) -> None:
        """Do what waits, as far as there is time, and stop."""
        self._is_closing = True
        self._awake.set()
        if self._working is not None:
            await asyncio.wait([self._working], timeout=self.patience)
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)
        self._lost += len(self._waiting)
        self._waiting.clear()
        if self._lost:
            self._tell("the server stops")

    def add(self, item: Item, size: int = 1) -> None:
        """Have an item done, unless too much waits already; returns at once, and raises nothing."""
        is_full = len(self._waiting) >= MOST or self._size + size > MOST_SIZE
        if self._is_closing or (self._waiting and is_full):
            self._lose(1, TOO_MUCH)
            return
        self._waiting.append((item, size))
        self._size += size
        self._awake.set()

    async def _run(self) -> None:
        while self._waiting or not self._is_closing:
            self._awake.clear()
            while self._waiting:
                await self._do(self._taken())
            if not self._is_closing:
                await self._awake.wait()

    def _taken(self) -> list[Item]:
        taken: list[Item] = []
        while self._waiting and len(taken) < self._batch:
            item, size = self._waiting.popleft()
            self._size -= size
            taken.append(item)
        return taken

    async def _do(self, items: list[Item]) -> None:
        try:
            await self._work(items)
        except asyncio.CancelledError:
            self._lost += len(items)
            raise
        except AgentError as exc:
            self._lose(len(items), exc.message)
        except OSError as exc:
            self._lose(len(items), exc.strerror or type(exc).__name__)
        except Exception:
            logger.exception("Work on %s broke", self._name)
            self._lose(len(items), "it broke")

    def _lose(self, count: int, reason: str) -> None:
        self._lost += count
        if self._clock() - self._told_at >= TOLD_SECONDS:
            self._tell(reason)

    def _tell(self, reason: str) -> None:
        """Tell of all that was lost since this was last told."""
        logger.warning("Lost %s: %d; %s", self._name, self._lost, reason)
        self._lost = 0
        self._told_at = self._clock()
