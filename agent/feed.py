"""The events of a run, for the log and for everybody who follows: each is encoded once per dialect."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agent.dialects.v1_0 import Dialect1

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from agent.dialects import Encoder
    from agent.errors import AgentError
    from agent.model import Event

GATHER_SECONDS = 0.002
"""How long events are collected that come faster than anybody reads."""

STORED = Dialect1()
"""The dialect that events and tasks are stored in."""


class Feed:
    """Events in order, the first of them numbered ``first_seq``; followers hear of those that are shown."""

    def __init__(self, first_seq: int) -> None:
        """Start empty; ``size`` counts the bytes of the events as they are stored."""
        self.first_seq = first_seq
        self.error: AgentError | None = None
        self.size = 0
        self._events: list[Event] = []
        self._encoded: dict[str, list[Any]] = {STORED.version: []}
        self._shown = 0
        self._ended = False
        # Dicts for their order; who stops waiting leaves nothing behind.
        self._followers: dict[asyncio.Future[bool], None] = {}
        self._awaiting_end: dict[asyncio.Future[None], None] = {}

    def __len__(self) -> int:
        """How many events there are, shown or not."""
        return len(self._events)

    def add(self, event: Event) -> None:
        """Append an event; one that cannot be encoded raises, and is not part of the feed."""
        encoded = STORED.event(event)
        self._encoded[STORED.version].append(encoded)
        self._events.append(event)
        self.size += len(encoded)

    def stored_form(self, start: int, stop: int) -> list[bytes]:
        """Return events as the log keeps them."""
        return self._encoded[STORED.version][start:stop]

    def show(self, count: int) -> None:
        """Let followers hear the first ``count`` events; what was heard stays heard."""
        if count > self._shown:
            self._shown = count
            self._wake()

    def end(self) -> None:
        """Let followers come to their end."""
        self._ended = True
        for waiter in self._awaiting_end:
            if not waiter.done():
                waiter.set_result(None)
        self._wake()

    async def follow[Written](
        self, encoder: Encoder[Written], idle: float, after: int = 0
    ) -> AsyncGenerator[list[tuple[int | None, Written]]]:
        """Yield what comes after number ``after`` as (seq, encoded event), in order.

        An empty list tells of ``idle`` seconds of silence. Ends with the feed; raises its error.
        """
        loop = asyncio.get_running_loop()
        heard, told_at = max(0, after - self.first_seq + 1), -GATHER_SECONDS
        while True:
            if heard < self._shown:
                if not self._ended and (early := told_at + GATHER_SECONDS - loop.time()) > 0:
                    await asyncio.sleep(early)
                start, heard, told_at = heard, self._shown, loop.time()
                news = self._encode(encoder, heard)[start:heard]
                yield list(enumerate(news, self.first_seq + start))
            elif self._ended:
                if self.error is not None:
                    raise self.error
                return
            elif not await self._changed(idle):
                yield []

    async def ended(self) -> None:
        """Wait for the end; raises the feed's error."""
        await self.closed()
        if self.error is not None:
            raise self.error

    @property
    def is_heard(self) -> bool:
        """Whether any event was shown: the first, which is the task, was stored then."""
        return self._shown > 0

    @property
    def is_ended(self) -> bool:
        """Whether there is no more to come."""
        return self._ended

    async def closed(self) -> None:
        """Wait for the end, however it comes."""
        if not self._ended:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._awaiting_end[waiter] = None
            try:
                await waiter
            finally:
                del self._awaiting_end[waiter]

    async def opened(self) -> None:
        """Wait until there is something to follow; raises the error if there never will be."""
        while not (self._shown or self._ended):
            await self._changed()
        if not self._shown and self.error is not None:
            raise self.error

    def _encode[Written](self, encoder: Encoder[Written], upto: int) -> list[Written]:
        encoded = self._encoded.setdefault(encoder.version, [])
        encoded.extend(encoder.event(event) for event in self._events[len(encoded) : upto])
        return encoded

    def _wake(self) -> None:
        followers, self._followers = self._followers, {}
        for follower in followers:
            if not follower.done():
                follower.set_result(True)

    async def _changed(self, seconds: float | None = None) -> bool:
        """Wait for news; returns False when ``seconds`` passed without."""
        loop = asyncio.get_running_loop()
        follower: asyncio.Future[bool] = loop.create_future()
        self._followers[follower] = None
        timer = None if seconds is None else loop.call_later(seconds, _give_up, follower)
        try:
            return await follower
        finally:
            self._followers.pop(follower, None)
            if timer is not None:
                timer.cancel()


def _give_up(follower: asyncio.Future[bool]) -> None:
    if not follower.done():
        follower.set_result(False)
