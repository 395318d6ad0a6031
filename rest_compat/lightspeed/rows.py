"""What a stack lists, read as rows: a stack may be anybody's, and its server may say anything."""

from collections.abc import Iterable
from typing import Any

import msgspec

from agent.errors import InvalidAgentResponse


def rows[T](listed: Iterable[Any], shape: type[T]) -> list[T]:
    """Read rows as ``shape``; raises ``InvalidAgentResponse``."""
    try:
        return msgspec.convert(list(listed), list[shape])  # type: ignore[valid-type]
    except msgspec.ValidationError as exc:
        raise InvalidAgentResponse from exc
