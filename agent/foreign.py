"""What a stack says is foreign: it is held against what the protocol says before it is believed."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from agent.errors import InvalidAgentResponse
from agent.nesting import too_deep
from agent.stacks.turn import TextDelta

if TYPE_CHECKING:
    from agent.stacks.turn import TurnEvent

_encode = msgspec.json.Encoder().encode


def check(event: TurnEvent) -> None:
    """Refuse what cannot be written as JSON and read again; raises ``InvalidAgentResponse``."""
    try:
        if type(event) is TextDelta and type(event.text) is str and event.artifact_id is None:
            # The most frequent event by far: only half a surrogate could be wrong with it.
            event.text.encode()
            return
        written = _encode(event)
        _decoder(type(event)).decode(written)
        if not too_deep(written):
            return
    except (TypeError, ValueError, RecursionError, msgspec.DecodeError) as exc:
        raise InvalidAgentResponse from exc
    raise InvalidAgentResponse


@lru_cache(maxsize=64)
def _decoder(kind: type) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)
