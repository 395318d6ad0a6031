"""The dialects of this binding: A2A 1.0, and A2A 0.3 in its two shapes of JSON.

The text of the 0.3 specification has the JSON of its schema (``parts`` with ``kind``) on HTTP+JSON, the SDKs
speak ProtoJSON (``content``, ``ROLE_USER``). A request with a body shows its shape and is answered in it.
Without one the answer is ProtoJSON, which those clients parse that exist; only the list of tasks, which is
in the text alone, is in the text's JSON. ``?shape=`` overrules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.dialects.v0_3 import Dialect03
from agent.dialects.v0_3_proto import Dialect03Proto
from agent.dialects.v1_0 import Dialect1
from agent.errors import InvalidParams, ParseError
from agent.http_json.params import is_proto_config, object_of
from agent.http_json.paths import LATEST
from agent.model import ArtifactUpdate, StatusUpdate, Task

if TYPE_CHECKING:
    from agent.dialects import Dialect
    from agent.http_json.paths import Target
    from agent.model import Event

SHAPES = ("specification", "proto")


class Dialect03Text(Dialect03):
    """A2A 0.3 as the text of the specification has it on HTTP+JSON: results are members of an object."""

    version = "0.3 text"

    def event(self, event: Event) -> bytes:
        """Write a stream event, which is also what ``message:send`` answers (0.3 section 7.1)."""
        said = super().event(event)
        if isinstance(event, ArtifactUpdate):
            return b'{"artifactUpdate":' + said + b"}"
        if isinstance(event, StatusUpdate):
            return b'{"statusUpdate":' + said + b"}"
        return (b'{"task":' if isinstance(event, Task) else b'{"message":') + said + b"}"

    def deleted(self) -> bytes:
        """Write an empty object: a client that parses JSON always finds some."""
        return b"{}"


_V1: Dialect = Dialect1()
_TEXT: Dialect = Dialect03Text()
_PROTO: Dialect = Dialect03Proto()


def dialect_of(target: Target, operation: str, body: bytes, shape: str | None) -> Dialect:
    """Return what reads the parameters and writes the answer; raises ``InvalidParams`` for ``shape``."""
    if target.version == LATEST:
        return _V1
    if shape is not None and shape not in SHAPES:
        raise InvalidParams("shape", f"must be {' or '.join(SHAPES)}")
    return _PROTO if _is_proto(operation, body, shape) else _TEXT


def _is_proto(operation: str, body: bytes, shape: str | None) -> bool:
    if operation in {"send", "stream"}:
        return _is_proto_message(body)
    if operation == "create_push_config":
        return is_proto_config(object_of(body))
    return operation != "list" if shape is None else shape == "proto"


def _is_proto_message(body: bytes) -> bool:
    """Whether a message has ``content``, or else a role of the Protocol Buffers file."""
    try:
        given = object_of(body)
        if "request" in given:
            return True
        message = object_of(bytes(given.get("message", b"{}")))
        if "content" in message or "parts" in message:
            return "content" in message
        return bytes(message.get("role", b"")).startswith(b'"ROLE_')
    except (InvalidParams, ParseError):
        # The dialect that reads it says what is wrong.
        return False


def bare_list(dialect: Dialect, page: bytes) -> tuple[bytes, str]:
    """Return what listing tasks answers, and the token of the next page where the answer has no room for it.

    In the text of 0.3 the answer is an array of tasks.
    """
    if dialect is not _TEXT:
        return page, ""
    fields = _decode_page(page)
    return bytes(fields.tasks), fields.next_page_token


class _Page(msgspec.Struct, frozen=True, rename="camel"):
    tasks: msgspec.Raw
    next_page_token: str = ""


_decode_page = msgspec.json.Decoder(_Page).decode
