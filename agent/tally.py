"""How much of something there is, within a bound for all and one for each owner."""

from __future__ import annotations


class Tally:
    """Counts it. Whatever is alone is never too much: else it could never be."""

    def __init__(self, most: int, most_per_owner: int) -> None:
        """There is nothing."""
        self._most = most
        self._most_per_owner = most_per_owner
        self._total = 0
        self._owned: dict[str, int] = {}

    def has_room(self, owner: str, amount: int = 1) -> bool:
        """Whether so much more of an owner's is within both bounds."""
        total, owned = self._total, self._owned.get(owner, 0)
        return (not total or total + amount <= self._most) and (
            not owned or owned + amount <= self._most_per_owner
        )

    def add(self, owner: str, amount: int = 1) -> None:
        """Count so much more, be there room or not."""
        self._total += amount
        self._owned[owner] = self._owned.get(owner, 0) + amount

    def take_off(self, owner: str, amount: int = 1) -> None:
        """Count so much less; who has nothing left is forgotten."""
        self._total -= amount
        left = self._owned.pop(owner, 0) - amount
        if left:
            self._owned[owner] = left
