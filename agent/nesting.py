"""How JSON is built: how deeply it is nested, and how many values it has.

What reads and writes JSON works its way down by recursion, and fails far down; and each value costs
time and memory far beyond its bytes. Both are told from the bytes, before anything is made of them.
"""

from __future__ import annotations

from itertools import accumulate

NESTING = 100

_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - _STEPS.keys())
# One for each list and object, for each name, and for each value but the first of a list or an object.
_NO_MARKS = bytes(set(range(256)) - set(b"[{:,"))


def too_deep(json: bytes) -> bool:
    """Whether valid JSON has more than ``NESTING`` levels."""
    if json.count(b"{") + json.count(b"[") <= NESTING:
        return False
    brackets = _around_strings(_without_escapes(json)).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > NESTING


def too_many_values(json: bytes, most: int) -> bool:
    """Whether JSON has more than ``most`` values, with the names of members and once more what is in them.

    It need not be valid: as far as it is, it is counted right. Commas within text count for nothing.
    """
    if len(json) <= most or _marks(json) <= most:
        return False
    plain = _without_escapes(json)
    # Each string is a value or a name: so many are not even looked at.
    return plain.count(b'"') > 2 * most or _marks(_around_strings(plain)) > most


def _marks(json: bytes) -> int:
    return len(json.translate(None, _NO_MARKS))


def _without_escapes(json: bytes) -> bytes:
    """Return JSON whose quotes are those that begin and end strings; replacing by as much is quick."""
    return json.replace(rb"\\", b"  ").replace(rb"\"", b"  ")


def _around_strings(plain: bytes) -> bytes:
    return b"".join(plain.split(b'"')[::2])
