"""How deeply JSON is nested: what reads and writes it works its way down by recursion, and fails far down."""

from __future__ import annotations

import re
from itertools import accumulate

NESTING = 100

_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - _STEPS.keys())


def too_deep(json: bytes) -> bool:
    """Whether valid JSON has more than ``NESTING`` levels."""
    if json.count(b"{") + json.count(b"[") <= NESTING:
        return False
    brackets = _STRINGS.sub(b"", json).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > NESTING
