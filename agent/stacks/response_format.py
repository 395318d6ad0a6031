"""The form that a caller wants the answer in: ``metadata.response_format`` with a JSON schema."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from agent.errors import InvalidParams
from agent.nesting import too_deep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.stacks.turn import Json

RESPONSE_FORMAT = "response_format"
"""The key in the metadata of a message or of its request."""

SCHEMA_BYTES = 64 * 1024
"""The largest schema that is passed on, as JSON."""

_PATH = f"metadata.{RESPONSE_FORMAT}"
_SCHEMA_PATH = f"{_PATH}.json_schema"
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)  # what OpenAI's API takes


class ResponseFormat(msgspec.Struct, frozen=True):
    """A JSON schema that the answer is to meet. ``strict`` is None where the caller leaves it open."""

    name: str
    schema: dict[str, Json]
    strict: bool | None = None

    @property
    def fields(self) -> dict[str, Json]:
        """The fields as OpenAI's APIs name them."""
        fields: dict[str, Json] = {"name": self.name, "schema": self.schema}
        return fields if self.strict is None else fields | {"strict": self.strict}


def response_format(metadata: Mapping[str, Json]) -> ResponseFormat | None:
    """Read what is wanted; None when the answer is to be text. Raises ``InvalidParams``.

    ``{"type": "json_schema", "json_schema": {"name", "schema", "strict"}}`` as OpenAI's chat API has
    it; in place of the inner object there may be the schema itself, as the agents API has it.
    """
    wanted = metadata.get(RESPONSE_FORMAT)
    if wanted is None or wanted == {"type": "text"}:
        return None
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        raise InvalidParams(_PATH, "must have the type json_schema")
    given = wanted.get("json_schema", wanted)
    if not isinstance(given, dict):
        raise InvalidParams(_SCHEMA_PATH, "must be an object")
    named = "schema" in given
    schema = given["schema"] if named else given
    if not isinstance(schema, dict) or schema is wanted:
        raise InvalidParams(_SCHEMA_PATH, "must hold a JSON schema, which is an object")
    encoded = msgspec.json.encode(schema)
    if len(encoded) > SCHEMA_BYTES or too_deep(encoded):
        raise InvalidParams(_SCHEMA_PATH, f"is deeper or larger than {SCHEMA_BYTES} bytes allow")
    name = (given.get("name") if named else None) or "answer"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidParams(f"{_SCHEMA_PATH}.name", "must be 1 to 64 of a-z, A-Z, 0-9, _ and -")
    strict = given.get("strict") if named else None
    if strict is not None and not isinstance(strict, bool):
        raise InvalidParams(f"{_SCHEMA_PATH}.strict", "must be true or false")
    return ResponseFormat(name, schema, strict)


def json_of(text: str) -> Json | UnsetType:
    """Read an answer that is to be JSON; ``UNSET`` when it is not, or is nested too deeply."""
    try:
        encoded = text.encode()
        data = msgspec.json.decode(encoded)
    except (ValueError, RecursionError):
        return UNSET
    return UNSET if too_deep(encoded) else data
