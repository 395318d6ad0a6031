"""Protobuf messages, and the JSON of a dialect that stands for them: ProtoJSON leads to and fro."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from google.protobuf.json_format import (
    MessageToDict,
    ParseDict,
    ParseError,
    SerializeToJsonError,
)
from google.protobuf.message import DecodeError

from agent.errors import InvalidRequest, UnsupportedOperation

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from agent.dialects import Encoder
    from agent.model import Event, Json

# Beyond this a double does not tell one integer from the next.
_EXACT = 2**53


def read(kind: type[Message], body: bytes) -> bytes:
    """Return a message of ``kind`` as JSON; raises ``InvalidRequest`` for what cannot be one."""
    try:
        value = MessageToDict(kind.FromString(body))
    except DecodeError as exc:
        raise InvalidRequest(
            "The request is no message of this method, or nested too deep"
        ) from exc
    except SerializeToJsonError as exc:
        raise InvalidRequest("The request has a number or a time that JSON cannot say") from exc
    return msgspec.json.encode(_with_integers(value))


def write(kind: type[Message], json: bytes) -> bytes:
    """Return JSON as a message of ``kind``; raises ``UnsupportedOperation`` when it cannot be one."""
    try:
        message = ParseDict(msgspec.json.decode(json), kind(), ignore_unknown_fields=True)
        body = message.SerializeToString()
        # Writers of protobuf know no bound to nesting, readers do: better an error than what nobody reads.
        kind.FromString(body)
    except (ParseError, DecodeError) as exc:
        raise UnsupportedOperation(
            "The answer is nested too deep for protobuf: ask for it over another binding"
        ) from exc
    return body


class Binary:
    """Writes events as messages of ``kind``, by way of another encoder."""

    def __init__(self, encoder: Encoder, kind: type[Message]) -> None:
        """Name the way of writing after the other one: events are encoded once for each name."""
        self.version = f"{encoder.version} protobuf"
        self._encoder = encoder
        self._kind = kind

    def event(self, event: Event) -> bytes:
        """Write an event."""
        return write(self._kind, self._encoder.event(event))


def _with_integers(value: Json) -> Json:
    """Undo that every number of a ``google.protobuf.Value`` is a double: 18 is not 18.0 to a tool."""
    if isinstance(value, dict):
        return {name: _with_integers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    return value
