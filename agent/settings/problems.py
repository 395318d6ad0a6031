"""Tells what is wrong with a configuration, by key path, in words of ours and without any value."""

import difflib
from collections.abc import Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAliasType, get_args

from pydantic import BaseModel, ValidationError

from agent.settings.section import Problems

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

type Location = tuple[str | int, ...]

_TEXTS = MappingProxyType(
    {
        "missing": "is missing",
        "int_type": "must be a whole number",
        "int_parsing": "must be a whole number",
        "int_from_float": "must be a whole number",
        "float_type": "must be a number",
        "float_parsing": "must be a number",
        "finite_number": "must be a number",
        "bool_type": "must be true or false",
        "bool_parsing": "must be true or false",
        "string_type": "must be text",
        "string_too_short": "must not be empty",
        "too_short": "must not be empty",
        "greater_than": "must be more than {gt}",
        "greater_than_equal": "must be at least {ge}",
        "less_than_equal": "must be at most {le}",
        "literal_error": "must be one of {expected}",
        "model_type": "must be a mapping",
        "dict_type": "must be a mapping",
        "tuple_type": "must be a list",
        "path_type": "must be a path",
        "invalid_key": "is not text, as keys must be",
    }
)


def problems_of(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[Location, str]]:
    """Yield every problem that ``model`` found, with its location."""
    for detail in error.errors(include_url=False, include_input=False):
        # Members of a union are tagged <so>; the user did not write that.
        loc = tuple(step for step in detail["loc"] if not str(step).startswith("<"))
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, Problems):
            yield from (((*loc, key), text) for key, text in cause.problems.items())
        elif detail["type"] == "extra_forbidden":
            yield loc, _unknown(model, loc)
        else:
            yield loc, _text(detail)


def dotted(location: Location) -> str:
    """Write a location as users do: ``mcp_servers[0].url``."""
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in location]
    return "".join(steps).removeprefix(".")


def suggestion(name: str, known: list[str]) -> str:
    """``; did you mean …?`` when one of the known names is near, else nothing."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def section_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    """Find the section that stands at a location; None when there is only a value."""
    found: type[BaseModel] | None = model
    for step in location:
        if isinstance(step, int):
            continue
        field = found.model_fields.get(step) if found else None
        found = next(_sections_in(field.annotation), None) if field else None
    return found


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, TypeAliasType):
        yield from _sections_in(annotation.__value__)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for argument in get_args(annotation):
            yield from _sections_in(argument)


def _unknown(model: type[BaseModel], location: Location) -> str:
    section = section_at(model, location[:-1])
    known = list(section.model_fields) if section else []
    return f"unknown key{suggestion(str(location[-1]), known)}"


def _text(detail: "ErrorDetails") -> str:
    context = detail.get("ctx", {})
    if detail["type"] == "value_error":  # raised by our own validators
        return str(context["error"])
    text = _TEXTS.get(detail["type"], "is not valid").format_map(context)
    return text.replace("'", "")
