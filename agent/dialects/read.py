"""Reading parameters: typed, lenient in names as ProtoJSON is, errors in our own words."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from agent.errors import InvalidParams, ParseError

DEFAULT_PAGE = 50
LARGEST_PAGE = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

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


def page_size(value: int | None) -> int:
    """Return how many tasks a page holds (1.0 section 3.1.4); raises ``InvalidParams`` out of 1 to 100."""
    if value is None:
        return DEFAULT_PAGE
    if not 1 <= value <= LARGEST_PAGE:
        raise InvalidParams("pageSize", f"must be from 1 to {LARGEST_PAGE}")
    return value


def milliseconds(at: datetime | None) -> int | None:
    """Return a moment in milliseconds since the epoch, rounded up; one without a time zone is UTC."""
    if at is None:
        return None
    since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH
    return -(-since // timedelta(milliseconds=1))


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
