"""What was used lately, up to a bound."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable


class Recent[K: Hashable, V]:
    """A mapping that forgets what was not used for longest when it is full."""

    def __init__(self, bound: int) -> None:
        """Hold ``bound`` entries at most."""
        self._bound = bound
        self._kept: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """Return the value, which counts as a use."""
        value = self._kept.get(key)
        if value is not None:
            self._kept.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> tuple[K, V] | None:
        """Keep the value; returns what is forgotten for it, if anything is."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._bound:
            return self._kept.popitem(last=False)
        return None

    def drop(self, key: K) -> V | None:
        """Forget the value, if there is one, and return it."""
        return self._kept.pop(key, None)
