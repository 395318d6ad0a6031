"""The scores of all rows -> one value, as Llama Stack's aggregation functions have them.

What is no number, and no text of one, is left out. Over nothing the value is None, and so is one that is
too large for a number.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

type Json = Any
type ScoreRow = dict[str, Json]
"""``{"score", ...}``; ``weight`` is 1 where it is not there."""


def aggregate(rows: Sequence[ScoreRow], names: Sequence[str]) -> dict[str, Json]:
    """Return ``{name: {...}}`` for the functions of these names, all of which must be known."""
    return {name: AGGREGATIONS[name](rows) for name in names}


def number(value: Json) -> float | None:
    """Return the finite number that a score is, or is the text of."""
    if not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) else None


def _accuracy(rows: Sequence[ScoreRow]) -> dict[str, Json]:
    """A score between 0 and 1 is as much of a correct answer; any other is none."""
    correct = math.fsum(score for score in _numbers(rows) if 0 <= score <= 1)
    return {
        "accuracy": correct / len(rows) if rows else None,
        "num_correct": correct,
        "num_total": len(rows),
    }


def _average(rows: Sequence[ScoreRow]) -> dict[str, Json]:
    return {"average": _of(statistics.fmean, _numbers(rows))}


def _weighted_average(rows: Sequence[ScoreRow]) -> dict[str, Json]:
    weighed = [
        (score, weight)
        for row in rows
        if (score := number(row.get("score"))) is not None
        and (weight := number(row.get("weight", 1))) is not None
        and weight > 0
    ]
    return {"weighted_average": _of(_weighted, weighed)}


def _weighted(weighed: Sequence[tuple[float, float]]) -> float:
    total = math.fsum(weight for _, weight in weighed)
    # Shares, not sums: what is finite stays so.
    return math.fsum(score * (weight / total) for score, weight in weighed)


def _median(rows: Sequence[ScoreRow]) -> dict[str, Json]:
    return {"median": _of(statistics.median, _numbers(rows))}


def _categorical_count(rows: Sequence[ScoreRow]) -> dict[str, Json]:
    counted = Counter(str(row.get("score")) for row in rows)
    return {"categorical_count": dict(sorted(counted.items()))}


def _of[T](function: Callable[[Sequence[T]], float], values: Sequence[T]) -> float | None:
    """Return what a function makes of values, if there are any, and if that is a finite number."""
    if not values:
        return None
    try:
        value = function(values)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def _numbers(rows: Sequence[ScoreRow]) -> list[float]:
    read = (number(row.get("score")) for row in rows)
    return [score for score in read if score is not None]


AGGREGATIONS: dict[str, Callable[[Sequence[ScoreRow]], dict[str, Json]]] = {
    "accuracy": _accuracy,
    "average": _average,
    "weighted_average": _weighted_average,
    "median": _median,
    "categorical_count": _categorical_count,
}
