"""What is held against the published types: presence, the 0.3 schema, and 0.3 in the words of 1.0."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

type Json = Any

SCHEMA = Path(__file__).parents[3] / "shared/spec/a2a/a2a-0.3.schema.json"
_MESSAGE = {"messageId", "role", "parts"}
_ARTIFACT = {"artifactId", "parts"}
# What the proto marks as required, by the name under which it stands.
_REQUIRED = {
    "task": {"id", "contextId", "status"},
    "status": {"state"},
    "message": _MESSAGE,
    "history": _MESSAGE,
    "artifact": _ARTIFACT,
    "artifacts": _ARTIFACT,
    "statusUpdate": {"taskId", "contextId", "status"},
    "artifactUpdate": {"taskId", "contextId", "artifact"},
}
_FREE = {"data", "metadata"}


def present(**fields: Json) -> dict[str, Json]:
    """Leave out what is None."""
    return {name: value for name, value in fields.items() if value is not None}


@cache
def schema_of_0_3(name: str) -> Any:
    """Return a validator of the published JSON schema, where it lies beside the repository."""
    if not SCHEMA.exists():
        return None
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return jsonschema.Draft7Validator(schema | {"$ref": f"#/definitions/{name}"})


def in_words_of_1_0(value: Json) -> Json:
    """Say an object of 0.3 as 1.0 does."""
    if isinstance(value, list):
        return [in_words_of_1_0(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("kind") == "file":
        return _file(value)
    return {
        key: _word(key, item)
        for key, item in value.items()
        if key != "kind" and not (key == "final" and value.get("kind") == "status-update")
    }


def _word(key: str, value: Json) -> Json:
    if key in _FREE:
        return value
    if key == "state":
        return "TASK_STATE_" + value.upper().replace("-", "_")
    if key == "role":
        return "ROLE_" + value.upper()
    return in_words_of_1_0(value)


def _file(part: Json) -> Json:
    file = part["file"]
    return present(
        raw=file.get("bytes"),
        url=file.get("uri"),
        filename=file.get("name"),
        mediaType=file.get("mimeType"),
        metadata=part.get("metadata"),
    )


def without_media_type_of_data(value: Json) -> Json:
    """0.3 has no place for it, so a test of both cannot speak of it."""
    if isinstance(value, list):
        return [without_media_type_of_data(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: item if key in _FREE else without_media_type_of_data(item)
        for key, item in value.items()
        if not (key == "mediaType" and "data" in value)
    }


def check_presence(name: str, value: Json) -> None:
    """What is required is there, and nothing is null or an empty list."""
    if name in _FREE:
        return
    if isinstance(value, list):
        assert value, name
        for item in value:
            check_presence(name, item)
    elif isinstance(value, dict):
        assert _REQUIRED.get(name, set()) <= value.keys(), name
        for key, item in value.items():
            assert item is not None or key == "data", key
            check_presence(key, item)
