"""HTTP body -> JSON-RPC calls, each element of a batch judged by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from agent.errors import InvalidRequest, ParseError, PayloadTooLarge
from agent.nesting import NESTING, too_deep, too_many_values

if TYPE_CHECKING:
    from starlette.types import Receive

BATCH_CALLS = 50
CONTENT_TYPES = frozenset({"application/json", "application/a2a+json"})

type CallId = str | int | float | None

NO_PARAMS = b"{}"
TOO_DEEP = f"A request is nested at most {NESTING} levels deep"
TOO_MANY = "The request has more than {} values; names of members count as well"

SMALL_BYTES = 256 * 1024
"""As much as a request may have that carries no message."""


class _Request(msgspec.Struct, frozen=True):
    jsonrpc: str
    method: str
    id: CallId | UnsetType = UNSET
    params: msgspec.Raw | UnsetType = UNSET


class Call(msgspec.Struct, frozen=True):
    """One valid request object; ``id`` is UNSET for a notification, ``params`` is JSON."""

    method: str
    id: CallId | UnsetType
    params: bytes


class BadCall(msgspec.Struct, frozen=True):
    """One request object that is not valid, with its id as far as it could be read."""

    id: CallId
    problem: str


class Disconnected(Exception):
    """The client went away."""


_decode_request = msgspec.json.Decoder(_Request).decode
_decode_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode


def is_json(content_type: str) -> bool:
    """Whether a Content-Type is one that JSON-RPC may come in."""
    return content_type.partition(";")[0].strip().lower() in CONTENT_TYPES


async def read_body(receive: Receive, limit: int, announced: str | None) -> bytes:
    """Return the request body; raises ``PayloadTooLarge`` as soon as that is known."""
    if announced is not None and announced.isdecimal() and _size(announced) > limit:
        raise PayloadTooLarge(f"The request is larger than {limit} bytes")
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise PayloadTooLarge(f"The request is larger than {limit} bytes")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def largest(operation: str, body_bytes: int) -> int:
    """Return how many bytes a request for an operation may have: files come in messages alone."""
    return body_bytes if operation in {"send", "stream"} else min(body_bytes, SMALL_BYTES)


def _size(announced: str) -> int:
    """Read a Content-Length; Python refuses to read numbers of thousands of digits."""
    return int(announced.lstrip("0")[:20] or "0")


def check_values(body: bytes, most: int) -> None:
    """Raise ``PayloadTooLarge`` for JSON with so many values that to decode it costs too much."""
    if too_many_values(body, most):
        raise PayloadTooLarge(TOO_MANY.format(most))


def read_calls(body: bytes, most_values: int) -> Call | BadCall | list[Call | BadCall]:
    """Return the call, or the calls of a batch.

    Raises ``ParseError`` when the body is not JSON, ``InvalidRequest`` for an empty or oversized batch,
    ``PayloadTooLarge`` for more than ``most_values``.
    """
    check_values(body, most_values)
    try:
        body.decode()
    except UnicodeDecodeError as exc:
        raise ParseError("The body is not valid UTF-8") from exc
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        return _read_call(body)
    try:
        batch = _decode_batch(body)
    except RecursionError as exc:
        raise InvalidRequest(TOO_DEEP) from exc
    except msgspec.DecodeError as exc:
        raise ParseError from exc
    if not batch:
        raise InvalidRequest("A batch must not be empty")
    if len(batch) > BATCH_CALLS:
        raise InvalidRequest(f"A batch has at most {BATCH_CALLS} requests")
    return [_read_call(bytes(raw)) for raw in batch]


def _read_call(raw: bytes) -> Call | BadCall:
    try:
        request = _decode_request(raw)
    except msgspec.ValidationError:
        return _bad_call(raw)
    except RecursionError as exc:
        raise InvalidRequest(TOO_DEEP) from exc
    except msgspec.DecodeError as exc:
        raise ParseError from exc
    known_id = None if request.id is UNSET else request.id
    if too_deep(raw):
        return BadCall(known_id, TOO_DEEP)
    if request.jsonrpc != "2.0":
        return BadCall(known_id, 'jsonrpc must be "2.0"')
    params = NO_PARAMS if request.params is UNSET else bytes(request.params)
    if params == b"null":
        params = NO_PARAMS
    return Call(request.method, request.id, params)


def _bad_call(raw: bytes) -> BadCall:
    try:
        value = _decode_any(raw)
    except RecursionError as exc:
        raise InvalidRequest(TOO_DEEP) from exc
    except msgspec.DecodeError as exc:
        raise ParseError from exc
    if not isinstance(value, dict):
        return BadCall(None, "A request must be an object")
    call_id = value.get("id")
    if isinstance(call_id, bool) or not isinstance(call_id, str | int | float | None):
        return BadCall(None, "id must be a string or a number")
    for name in ("jsonrpc", "method"):
        if not isinstance(value.get(name), str):
            return BadCall(call_id, f"{name} must be a string")
    return BadCall(call_id, "Not a JSON-RPC 2.0 request")
