"""Which credentials were good lately."""

from __future__ import annotations

from agent.auth.recent import Recent

EACH = 100
"""Most credentials of one owner that are remembered."""


class GoodCredentials:
    """Digests of credentials. Each owner has only so many, and so pushes out none but their own."""

    def __init__(self, bound: int) -> None:
        """Remember ``bound`` at most."""
        self._owners: Recent[bytes, str] = Recent(bound)
        self._of: dict[str, Recent[bytes, str]] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def __contains__(self, digest: bytes) -> bool:
        owner = self._owners.get(digest)
        return owner is not None and self._of[owner].get(digest) is not None

    def add(self, digest: bytes, owner: str) -> None:
        """Remember; what was not used for longest is forgotten, of the owner's and of all."""
        self.discard(digest)
        if forgotten := self._of.setdefault(owner, Recent(EACH)).put(digest, owner):
            self._owners.drop(forgotten[0])
        if forgotten := self._owners.put(digest, owner):
            self._forget(*forgotten)

    def discard(self, digest: bytes) -> None:
        """Forget, if it is remembered."""
        owner = self._owners.drop(digest)
        if owner is not None:
            self._forget(digest, owner)

    def _forget(self, digest: bytes, owner: str) -> None:
        self._of[owner].drop(digest)
        if not self._of[owner]:
            del self._of[owner]
