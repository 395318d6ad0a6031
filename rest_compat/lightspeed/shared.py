"""An answer that all who ask at the same time share, and those who ask soon after."""

import asyncio
import time
from collections.abc import Awaitable, Callable


class Shared[T]:
    """Asks for something that takes time, no more often than it may change."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[T]],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """What ``ask`` returns is told for so many ``seconds``; so is what it raises."""
        self._ask = ask
        self._seconds = seconds
        self._clock = clock
        self._asked_at = 0.0
        self._asking: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return the answer."""
        now, asking = self._clock(), self._asking
        if asking is None or (asking.done() and now - self._asked_at >= self._seconds):
            self._asked_at = now
            asking = self._asking = asyncio.create_task(self._answer())
        # Who goes away does not take the answer from the others.
        return await asyncio.shield(asking)

    async def _answer(self) -> T:
        return await self._ask()
