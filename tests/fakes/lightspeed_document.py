"""LCS's published OpenAPI document, where it lies beside the project, and what it says of answers."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

DOCUMENT = Path(__file__).parents[3] / "shared" / "spec" / "lightspeed" / "openapi.json"


@cache
def _read() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(DOCUMENT.read_text())
    for schema in document["components"]["schemas"].values():
        # It says so of all errors, and none that LCS sends has it.
        if {"status_code", "detail"} <= set(schema.get("required", ())):
            schema["required"].remove("status_code")
    return document


def published() -> dict[str, Any]:
    """Return the document; skips the test where there is none."""
    if not DOCUMENT.exists():
        pytest.skip("the published document is not here")
    return _read()


def check(body: Any, schema: str, document: dict[str, Any]) -> None:
    """Hold a body against a schema of a document."""
    named = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    Draft202012Validator(named).validate(body)


def schema_of(operation: dict[str, Any], status: int) -> str:
    """Return the name of the schema of an operation's answer."""
    response = operation["responses"][str(status)]
    reference: str = response["content"]["application/json"]["schema"]["$ref"]
    return reference.rpartition("/")[2]
