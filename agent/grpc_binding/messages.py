"""Protobuf messages, and the JSON of a dialect that stands for them: ProtoJSON leads to and fro."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from google.protobuf.json_format import (
    MessageToDict,
    ParseDict,
    ParseError,
    SerializeToJsonError,
)
from google.protobuf.message import DecodeError, Message

from agent.errors import InvalidRequest, PayloadTooLarge, UnsupportedOperation
from agent.rpc_body import TOO_MANY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.dialects import Encoder
    from agent.model import Event, Json

# Beyond this a double does not tell one integer from the next.
_EXACT = 2**53


def read(kind: type[Message], body: bytes, most_values: int) -> bytes:
    """Return a message of ``kind`` as JSON.

    Raises ``InvalidRequest`` for what cannot be one, ``PayloadTooLarge`` for more than ``most_values``.
    """
    try:
        message = kind.FromString(body)
        if len(body) > most_values and _left(message, most_values) < 0:
            raise PayloadTooLarge(TOO_MANY.format(most_values))
        value = MessageToDict(message)
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

    def __init__(self, encoder: Encoder[bytes], kind: type[Message]) -> None:
        """Name the way of writing after the other one: events are encoded once for each name."""
        self.version = f"{encoder.version} protobuf"
        self._encoder = encoder
        self._kind = kind

    def event(self, event: Event) -> bytes:
        """Write an event."""
        return write(self._kind, self._encoder.event(event))


def _left(message: Message, most: int) -> int:
    """Return what is left of ``most`` after the values of a message; less than none ends the count."""
    for _, value in message.ListFields():
        most -= 1
        if isinstance(value, Mapping):
            most = _left_of(value.values(), most - len(value))
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            most = _left_of(value, most)
        else:
            most = _left_of((value,), most)
        if most < 0:
            break
    return most


def _left_of(values: Iterable[object], most: int) -> int:
    for value in values:
        most = _left(value, most - 1) if isinstance(value, Message) else most - 1
        if most < 0:
            break
    return most


def _with_integers(value: Json) -> Json:
    """Undo that every number of a ``google.protobuf.Value`` is a double: 18 is not 18.0 to a tool."""
    if isinstance(value, dict):
        return {name: _with_integers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    return value
