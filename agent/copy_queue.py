"""What waits to be copied: owners take turns, so that who says much does not keep others waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from a2a_state.copy_source import TaskKey

type _Waiting = dict[TaskKey, asyncio.Future[None]]


class CopyQueue:
    """Tasks that wait, by owner; and those that were taken and are not done with."""

    def __init__(self) -> None:
        """Nothing waits."""
        # Dicts for their order: the owner whose turn it is comes first.
        self._owners: dict[str, _Waiting] = {}
        self._taken: _Waiting = {}
        self._size = 0

    def __len__(self) -> int:
        """How many wait, or are being copied."""
        return self._size + len(self._taken)

    def add(self, key: TaskKey) -> None:
        """Let a task wait, unless it does; also one that is being copied, which may have changed since."""
        theirs = self._owners.setdefault(key.context.owner, {})
        if key not in theirs:
            theirs[key] = asyncio.get_running_loop().create_future()
            self._size += 1

    def take(self, most: int) -> list[TaskKey]:
        """Return the next ones, one of each owner in turn, until they are ``done``."""
        keys: list[TaskKey] = []
        while self._owners and len(keys) < most:
            owner = next(iter(self._owners))
            theirs = self._owners.pop(owner)
            key = next(iter(theirs))
            self._taken[key] = theirs.pop(key)
            keys.append(key)
            if theirs:
                self._owners[owner] = theirs
        self._size -= len(keys)
        return keys

    def done(self, keys: Iterable[TaskKey]) -> None:
        """Let those know who wait for them."""
        for key in keys:
            if (waiter := self._taken.pop(key, None)) is not None and not waiter.done():
                waiter.set_result(None)

    async def empty_for(self, owner: str, seconds: float) -> bool:
        """Wait for what waits of an owner now; returns whether all of that is done in time."""
        theirs = list(self._owners.get(owner, {}).values())
        theirs += [each for key, each in self._taken.items() if key.context.owner == owner]
        if not theirs:
            return True
        _, late = await asyncio.wait(theirs, timeout=seconds)
        return not late
