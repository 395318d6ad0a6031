"""What running turns may still cost is held back, so that not all begin on the same tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Collection


class Reserved:
    """What is held back of the tokens of a user, or of all.

    Both numbers only grow: so who waits for anything can tell what was held back at any time meanwhile.
    """

    __slots__ = ("__weakref__", "given_back", "taken")

    def __init__(self) -> None:
        """Nothing is held back."""
        self.taken = 0
        self.given_back = 0


class Reserve:
    """What one turn holds back."""

    __slots__ = ("_reserved", "_tokens")

    def __init__(self, reserved: Collection[Reserved], tokens: int) -> None:
        """Hold back so many tokens, of each."""
        self._reserved = reserved
        self._tokens = 0
        self.at_least(tokens)

    def at_least(self, tokens: int) -> None:
        """Hold back so many, if that is more than now."""
        more = max(tokens - self._tokens, 0)
        self._tokens += more
        for reserved in self._reserved:
            reserved.taken += more

    def give_back(self) -> None:
        """Hold back nothing; again is nothing."""
        for reserved in self._reserved:
            reserved.given_back += self._tokens
        self._tokens = 0


class Reserves:
    """Whose tokens are held back; who has no turn that runs is forgotten."""

    def __init__(self) -> None:
        """Nothing is held back."""
        self._reserved: WeakValueDictionary[str, Reserved] = WeakValueDictionary()

    def of(self, subject: str) -> Reserved:
        """Return what is held back of a subject's tokens."""
        return self._reserved.setdefault(subject, Reserved())
