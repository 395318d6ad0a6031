"""How many bytes the messages may have that wait or run in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from agent.errors import TooManyTasks
from agent.tally import Tally

if TYPE_CHECKING:
    from agent.settings.own import Limits

RETRY_AFTER_SECONDS = 5


class Budget:
    """Counts them, from before a message waits for anything until its run has ended."""

    def __init__(self, limits: Limits) -> None:
        """Nothing waits or runs."""
        self._bytes = Tally(limits.running_bytes, limits.running_bytes_per_owner)

    def hold(self, owner: str, size: int) -> Hold:
        """Count a message of an owner; raises ``TooManyTasks`` when there is no room for it."""
        if not self._bytes.has_room(owner, size):
            raise TooManyTasks(RETRY_AFTER_SECONDS)
        self._bytes.add(owner, size)
        return Hold(self._bytes, owner, size)


class Hold:
    """What is counted of one message. As a context manager it ends with the block, unless it is kept."""

    __slots__ = ("_bytes", "_is_kept", "_owner", "_size")

    def __init__(self, counted: Tally, owner: str, size: int) -> None:
        """It is counted already."""
        self._bytes = counted
        self._owner = owner
        self._size = size
        self._is_kept = False

    def grow(self, size: int) -> None:
        """Count what the message brings with it; raises ``TooManyTasks``.

        All that one owner has, or all that there is, fits when it is of this message alone.
        """
        counted = self._bytes
        counted.take_off(self._owner, self._size)
        has_room = counted.has_room(self._owner, self._size + size)
        self._size += size if has_room else 0
        counted.add(self._owner, self._size)
        if not has_room:
            raise TooManyTasks(RETRY_AFTER_SECONDS)

    def keep(self) -> Self:
        """Go on after the block, until ``end``."""
        self._is_kept = True
        return self

    def end(self) -> None:
        """Count it no more; again is nothing."""
        self._bytes.take_off(self._owner, self._size)
        self._size = 0

    def __enter__(self) -> Self:
        """Nothing is to be done."""
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_kept:
            self.end()
