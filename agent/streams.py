"""How many streams one owner may have open in this process; who waits for a task of theirs has one too."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from agent.errors import TooManyStreams

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from agent.dialects import Encoder
    from agent.following import Followed, Numbered

RETRY_AFTER_SECONDS = 5


class Streams:
    """Counts them."""

    def __init__(self, per_owner: int) -> None:
        """None is open."""
        self._per_owner = per_owner
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """How many there are."""
        return self._open.total()

    def enter(self, owner: str) -> Place:
        """Take a place for a stream; raises ``TooManyStreams``."""
        if self._open[owner] >= self._per_owner:
            raise TooManyStreams(RETRY_AFTER_SECONDS)
        self._open[owner] += 1
        return Place(self._open, owner)

    async def placed(self, owner: str, starting: Coroutine[Any, Any, Followed]) -> Followed:
        """Return a stream that has a place, unless it does not start; raises ``TooManyStreams``."""
        try:
            place = self.enter(owner)
        except TooManyStreams:
            starting.close()
            raise
        try:
            return Placed(await starting, place)
        except BaseException:
            place.leave()
            raise


class Place:
    """A stream's place. One that nobody leaves is left when it is forgotten: not all streams begin.

    As a context manager it is left with the block.
    """

    def __init__(self, taken: Counter[str], owner: str) -> None:
        """Taken already."""
        self._taken: Counter[str] | None = taken
        self._owner = owner

    def leave(self) -> None:
        """Give it back; again is nothing."""
        taken, self._taken = self._taken, None
        if taken is None:
            return
        taken[self._owner] -= 1
        if not taken[self._owner]:
            del taken[self._owner]

    def __enter__(self) -> None:
        """It is taken already."""

    def __exit__(self, *_: object) -> None:
        self.leave()

    def __del__(self) -> None:
        self.leave()


class Placed:
    """A stream that gives its place back when it ends."""

    def __init__(self, followed: Followed, place: Place) -> None:
        """Keep both."""
        self._followed = followed
        self._place = place

    async def follow[Written](
        self, encoder: Encoder[Written], idle: float
    ) -> AsyncGenerator[list[Numbered[Written]]]:
        """See ``Followed``."""
        try:
            async with aclosing(self._followed.follow(encoder, idle)) as news:
                async for events in news:
                    yield events
        finally:
            self._place.leave()
