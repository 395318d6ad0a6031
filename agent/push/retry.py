"""What becomes of a delivery that failed."""

from __future__ import annotations

import random
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.outgoing.outgoing import Outcome
    from agent.settings.push import Push

GONE = 410
_MAY_SAY_WHEN = frozenset({429, 503})
_MAX_DOUBLINGS = 32


def is_delivered(outcome: Outcome) -> bool:
    """Whether the receiver took it; a redirect is not followed and counts as failure."""
    return outcome.status is not None and 200 <= outcome.status < 300


def problem(outcome: Outcome) -> str:
    """Return what went wrong in words of ours: nothing that came back stands in it."""
    return outcome.problem if outcome.status is None else f"HTTP status {outcome.status}"


class Retry:
    """Exponential backoff with full jitter, so that receivers are not met by all at once."""

    def __init__(
        self, settings: Push, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        """``uniform`` draws a number between two."""
        self._settings = settings
        self._uniform = uniform

    def gives_up(self, outcome: Outcome, attempts: int) -> bool:
        """Whether the failure that makes ``attempts`` in a row is the last one."""
        return outcome.status == GONE or attempts >= self._settings.attempts

    def delay(self, outcome: Outcome, attempts: int, now: float) -> float:
        """Return seconds until the next try; ``now`` is in seconds since the epoch."""
        most = self._settings.backoff_max_seconds
        doublings = min(attempts - 1, _MAX_DOUBLINGS)
        drawn = self._uniform(0, min(most, self._settings.backoff_seconds * 2**doublings))
        asked = _seconds(outcome.retry_after, now) if outcome.status in _MAY_SAY_WHEN else 0
        return min(most, max(drawn, asked))


def _seconds(retry_after: str | None, now: float) -> float:
    """Read ``Retry-After``, seconds or a date; what cannot be read asks for nothing."""
    if not retry_after:
        return 0
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after[:12])
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
    except (ValueError, OverflowError):
        return 0
