"""What answers are held against: the specification of Llama Stack 0.3.5, and the document of this server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from collections.abc import Iterable

type Json = Any

SPECIFICATION = (
    Path(__file__).parents[3] / "shared/spec/llama_stack/experimental-llama-stack-spec-0.3.5.yaml"
)
CHUNK = {"$ref": "#/components/schemas/AgentTurnResponseStreamChunk"}


def specification() -> Json:
    """Return the specification, or skip the test."""
    if not SPECIFICATION.exists():
        pytest.skip("the published specification is not here")
    return yaml.safe_load(SPECIFICATION.read_text())


def misfits(schema: Json, document: Json, values: Iterable[Json]) -> list[str]:
    """Tell where values do not fit a schema of a document."""
    components = {"components": _nullable(document.get("components", {}))}
    validator = Draft202012Validator(_nullable(schema) | components)
    return [
        f"{error.json_path} {error.message}"
        for value in values
        for error in validator.iter_errors(value)
    ]


def _nullable(schema: Json) -> Json:
    """Allow null for members that need not be there: real servers write them all."""
    if isinstance(schema, list):
        return [_nullable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    # Its alternatives overlap: one that fits is enough.
    seen = {"anyOf" if key == "oneOf" else key: _nullable(value) for key, value in schema.items()}
    members = schema.get("properties")
    if isinstance(members, dict) and "type" in schema:
        needed = schema.get("required", ())
        seen["properties"] = {
            name: value if name in needed else {"anyOf": [value, {"type": "null"}]}
            for name, value in seen["properties"].items()
        }
    return seen
