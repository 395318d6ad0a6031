"""The time as it is stored."""

from __future__ import annotations

import time


def now() -> int:
    """Return the present moment in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
