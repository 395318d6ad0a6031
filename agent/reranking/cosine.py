"""How near vectors are to one of them, whatever their length."""

from __future__ import annotations

from math import hypot, isfinite, sumprod
from typing import TYPE_CHECKING

from agent.errors import InvalidAgentResponse

if TYPE_CHECKING:
    from collections.abc import Sequence


def cosines(asked: Sequence[float], vectors: Sequence[Sequence[float]]) -> list[float]:
    """Return the cosine of the angle between ``asked`` and each vector; 0 where one has no direction.

    Raises ``InvalidAgentResponse`` for vectors that are of different spaces.
    """
    length = hypot(*asked)
    return [_cosine(asked, length, vector) for vector in vectors]


def _cosine(asked: Sequence[float], length: float, vector: Sequence[float]) -> float:
    if len(asked) != len(vector):
        raise InvalidAgentResponse
    product = length * hypot(*vector)
    cosine = sumprod(asked, vector) / product if product else 0.0
    if not isfinite(cosine):
        raise InvalidAgentResponse
    return max(-1.0, min(1.0, cosine))
