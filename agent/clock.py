"""The time as it is stored."""

from __future__ import annotations

import time
from datetime import datetime


def now() -> int:
    """Return the present moment in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def milliseconds(at: str | None) -> int:
    """Return a moment of ISO 8601 in milliseconds since the epoch; 0 for none."""
    return round(datetime.fromisoformat(at).timestamp() * 1000) if at else 0
