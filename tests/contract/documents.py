"""OpenAPI documents, laid out flat, so that two can be told apart point by point.

Only what a client can rely on is laid out: titles, descriptions and examples are free, and so are
defaults where the server fills in everything, that is in answers.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

type Document = dict[str, Any]
type Flat = dict[str, str]
"""What is said, as JSON, by the place where it is said."""

type Said = tuple[tuple[str, ...], str]

METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
FREE = frozenset({"title", "description", "example", "examples"})
# Lists whose order says nothing.
SETS = frozenset({"required", "enum", "anyOf", "oneOf", "allOf", "type"})


def flat(document: Document) -> Flat:
    """Return all that a document says of its operations and schemas."""
    said: Flat = {}
    for path, operations in document["paths"].items():
        for method in operations.keys() & set(METHODS):
            said |= _operation(f"{method.upper()} {path}", operations[method])
    schemas = document["components"]["schemas"]
    taken = _taken(document)
    for name, schema in schemas.items():
        told = _laid_out(f"schema {name}", schema)
        said |= {
            place: text
            for place, text in told.items()
            if name in taken or "default" not in place.split(": ")
        }
    return said


def _taken(document: Document) -> set[str]:
    """Return the names of the schemas that requests are made of."""
    bodies = [
        operation.get("requestBody")
        for operations in document["paths"].values()
        for method, operation in operations.items()
        if method in METHODS
    ]
    taken: set[str] = set()
    new = _named(bodies)
    while new:
        taken |= new
        new = _named([document["components"]["schemas"][name] for name in new]) - taken
    return taken


def _named(value: Any) -> set[str]:
    """Return the names of the schemas that are referred to."""
    if isinstance(value, dict):
        own = {value["$ref"].rpartition("/")[2]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(_named(member) for member in value.values()))
    return set().union(*map(_named, value)) if isinstance(value, list) else set()


def differences(ours: Document, theirs: Document) -> dict[str, tuple[str | None, str | None]]:
    """Return what is said otherwise, by the place: what we say, and what they say."""
    mine, others = flat(ours), flat(theirs)
    return {
        place: (mine.get(place), others.get(place))
        for place in sorted(mine.keys() | others.keys())
        if mine.get(place) != others.get(place)
    }


def _operation(name: str, operation: Document) -> Flat:
    said = {
        f"{name}: id": _text(operation.get("operationId")),
        f"{name}: tags": _text(operation.get("tags")),
        f"{name}: security": _text(operation.get("security")),
    }
    for parameter in operation.get("parameters", ()):
        where = f"{name}: {parameter['in']} {parameter['name']}"
        said[f"{where}: required"] = _text(parameter.get("required", False))
        said |= _laid_out(where, parameter["schema"])
    if body := operation.get("requestBody"):
        said[f"{name}: body: required"] = _text(body.get("required", False))
        said |= _contents(f"{name}: body", body)
    for status, response in operation["responses"].items():
        said[f"{name}: {status}"] = "true"
        said |= _contents(f"{name}: {status}", response)
    return said


def _contents(where: str, holder: Document) -> Flat:
    said: Flat = {}
    for media_type, content in holder.get("content", {}).items():
        said[f"{where}: {media_type}"] = "true"
        said |= _laid_out(f"{where}: {media_type}", content.get("schema", {}))
    return said


def _laid_out(where: str, schema: Any) -> Flat:
    return {": ".join((where, *path)): text for path, text in _walk(schema)}


def _walk(schema: Any) -> Iterator[Said]:
    """Yield each keyword that constrains, with the way to it."""
    if not isinstance(schema, dict):
        yield (), _text(schema)
        return
    for keyword, value in schema.items():
        if keyword not in FREE:
            yield from _keyword(keyword, value)


def _keyword(keyword: str, value: Any) -> Iterator[Said]:
    if keyword == "properties":
        for name, member in value.items():
            yield (f".{name}",), "true"
            yield from (((f".{name}", *path), text) for path, text in _walk(member))
    elif keyword in SETS and isinstance(value, list):
        yield from (((keyword, _text(_bare(item))), "true") for item in value)
    else:
        yield from (((keyword, *path), text) for path, text in _walk(value))


def _bare(schema: Any) -> Any:
    """Return a schema without what is free."""
    if isinstance(schema, dict):
        return {
            name: {key: _bare(member) for key, member in value.items()}
            if name == "properties"
            else _bare(value)
            for name, value in schema.items()
            if name not in FREE
        }
    return [_bare(item) for item in schema] if isinstance(schema, list) else schema


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
