"""Reading parameters: typed, lenient in names as ProtoJSON is, errors in our own words."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from agent.errors import InvalidParams, ParseError

# ProtoJSON parsers accept the proto's own field names too. Looking for one costs a microsecond; the second
# reading is paid only by those who use them.
_SNAKE_KEY = re.compile(rb'"[a-z]+_[a-z_]+"\s*:')
_LOCATION = re.compile(r" - at `([^`]*)`$")
_MISSING = re.compile(r"missing required field `(\w+)`")
_EXPECTED = re.compile(r"Expected `([^`]*)`")
# Free-form objects: their keys belong to the caller.
_OPAQUE = frozenset({"metadata", "data", "params"})
_NAMES = {"str": "a string", "int": "an integer", "bool": "true or false", "array": "a list"}


def read[T](decoder: msgspec.json.Decoder[T], params: bytes) -> T:
    """Decode ``params``; raises ``InvalidParams`` with the path of the field."""
    try:
        if _SNAKE_KEY.search(params):
            return msgspec.convert(_camel(msgspec.json.decode(params)), decoder.type)
        return decoder.decode(params)
    except msgspec.ValidationError as exc:
        raise _invalid_params(str(exc)) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ParseError from exc


def not_negative(value: int | None, field: str) -> int | None:
    """Return ``value``; raises ``InvalidParams`` when it is negative."""
    if value is not None and value < 0:
        raise InvalidParams(field, "must not be negative")
    return value


def _camel(value: Any) -> Any:
    if isinstance(value, list):
        return [_camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        _camel_name(name): item if name in _OPAQUE else _camel(item) for name, item in value.items()
    }


def _camel_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _invalid_params(problem: str) -> InvalidParams:
    """Say in our own words what msgspec found; its text may hold the caller's values."""
    location = _LOCATION.search(problem)
    path = location[1].removeprefix("$").lstrip(".") if location else ""
    if missing := _MISSING.search(problem):
        return InvalidParams(f"{path}.{missing[1]}" if path else missing[1], "is required")
    expected = _EXPECTED.search(problem)
    if expected is None:
        return InvalidParams(path or "params", "has a value that is not allowed")
    names = (_NAMES.get(name.strip(), "an object") for name in expected[1].split("|"))
    wanted = " or ".join(dict.fromkeys(n for n in names if n)).replace(" or an object", "")
    return InvalidParams(path or "params", f"must be {wanted}")
