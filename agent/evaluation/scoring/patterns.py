"""Regular expressions of callers: they may take long, and grow large, so each is given little of both."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

import regex

from agent.errors import InvalidParams

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = 0.5
"""How long all patterns together may search one text."""

CHARS = 2000
MOST = 100
SIZE = 1_000_000
"""How large all patterns together may be: characters, times how often they are repeated at least."""

_ESCAPED = regex.compile(r"\\.", regex.DOTALL)
# A repetition is compiled as often as it is repeated at least.
_COUNT = regex.compile(r"\{(\d+)")
# Recursion takes memory without end; spaces that do not count would hide both of these.
_FORBIDDEN = regex.compile(r"\(\?(?:R|[+-]?\d|&|P>|[a-zA-Z0-9-]*x)")


class Patterns:
    """Finds what one of several patterns says, on a thread of its own."""

    def __init__(self, field: str, patterns: Sequence[str]) -> None:
        """``field`` is where they come from. Raises ``InvalidParams`` for what is no pattern."""
        self._field = field
        if len(patterns) > MOST:
            raise InvalidParams(field, f"more than {MOST} patterns")
        for number, text in enumerate(patterns):
            _check(f"{field}[{number}]", text)
        if sum(map(_size, patterns)) > SIZE:
            raise InvalidParams(field, "too many repetitions")
        self._patterns = [
            _compiled(f"{field}[{number}]", text) for number, text in enumerate(patterns)
        ]

    async def first(self, text: str) -> str | None:
        """Return the first group of the first pattern that is found: all that matched without a group.

        Raises ``InvalidParams`` when searching takes too long.
        """
        if not self._patterns:
            return None
        return await asyncio.to_thread(self._search, text)

    def _search(self, text: str) -> str | None:
        until = time.monotonic() + SECONDS
        for number, pattern in enumerate(self._patterns):
            left = max(until - time.monotonic(), 0.001)
            try:
                found = pattern.search(text, timeout=left, concurrent=True)
            except (TimeoutError, MemoryError) as exc:
                field = f"{self._field}[{number}]"
                raise InvalidParams(field, f"searching took more than {SECONDS:g} s") from exc
            if found is not None:
                return found.group(1 if pattern.groups else 0)
        return None


def _check(field: str, text: str) -> None:
    if len(text) > CHARS:
        raise InvalidParams(field, f"longer than {CHARS} characters")
    if _FORBIDDEN.search(_ESCAPED.sub("", text)) is not None:
        raise InvalidParams(field, "recursion and the flag x are not allowed")


def _size(text: str) -> int:
    counts = (int(found[1]) for found in _COUNT.finditer(_ESCAPED.sub("", text)))
    return len(text) * math.prod(count for count in counts if count)


def _compiled(field: str, text: str) -> regex.Pattern[str]:
    try:
        # Without being kept for later: callers would fill the memory.
        return regex.compile(text, cache_pattern=False)
    except (regex.error, RecursionError, OverflowError, ValueError) as exc:
        raise InvalidParams(field, "not a regular expression") from exc
