"""What this process knows of where conversations are, so that the server need not be asked."""

from __future__ import annotations

from time import monotonic

FRESH_SECONDS = 10.0
"""How soon after its start a conversation has the turn that it was started for."""

_MOST = 10_000


class Passed:
    """Which conversations went over to the Responses API for good, and which have just begun."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._over: dict[str, None] = {}  # dicts, for they know what came first
        self._began: dict[str, float] = {}

    def began(self, conversation: str) -> None:
        """Note that a conversation was started: nobody else can know it before its first turn."""
        self._began[conversation] = monotonic()
        _bound(self._began)

    def went_over(self, conversation: str) -> None:
        """Note that something was said there: it never comes back."""
        self._over[conversation] = None
        _bound(self._over)

    def forget(self, conversation: str) -> None:
        """Note that a conversation is no more."""
        self._over.pop(conversation, None)
        self._began.pop(conversation, None)

    def known(self, conversation: str) -> bool | None:
        """Tell whether a conversation went over; ``None`` when only the server knows.

        That one has just begun is believed once: with its first turn others can learn of it.
        """
        if conversation in self._over:
            return True
        began = self._began.pop(conversation, None)
        return None if began is None or monotonic() - began > FRESH_SECONDS else False


def _bound(noted: dict[str, None] | dict[str, float]) -> None:
    """Give up the oldest note when there are too many: then the server is asked."""
    while len(noted) > _MOST:
        noted.pop(next(iter(noted)))
