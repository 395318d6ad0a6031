"""Warnings that callers can cause at will: the log is not filled by who wants to fill it."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, override

if TYPE_CHECKING:
    from collections.abc import Callable

TOLD_SECONDS = 60.0
MOST = 100
"""Different warnings that are remembered at once."""


class Seldom(logging.Filter):
    """Lets each warning through once in ``TOLD_SECONDS``; errors, and what is only information, always."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """``clock`` tells seconds."""
        super().__init__()
        self._clock = clock
        self._told: dict[str, float] = {}

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno != logging.WARNING or self.is_due(record.getMessage())

    def is_due(self, line: str) -> bool:
        """Whether to say a line, which counts as said then."""
        now = self._clock()
        told = self._told.pop(line, None)
        if told is not None and now < told + TOLD_SECONDS:
            self._told[line] = told
            return False
        if len(self._told) >= MOST:
            self._told.pop(next(iter(self._told)))
        self._told[line] = now
        return True
