"""A request that is still to begin, and counts all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from agent.budget import Hold
    from agent.streams import Place


class Waiting:
    """Its place among its owner's streams, and its bytes. As a context manager it ends with the block."""

    def __init__(self, place: Place, hold: Hold) -> None:
        """Both are taken already."""
        self._place = place
        self._hold = hold

    def grow(self, size: int) -> None:
        """Count what the request brings with it; raises ``TooManyTasks``."""
        self._hold.grow(size)

    def end(self) -> None:
        """Count it no more, as it begins; again is nothing."""
        self._place.leave()
        self._hold.end()

    def __enter__(self) -> Self:
        """Nothing is to be done."""
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
