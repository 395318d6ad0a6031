"""``${env.NAME}`` in configuration files, as Llama Stack expands it.

``${env.NAME}`` must be set, ``${env.NAME:=default}`` defaults, ``${env.NAME:+value}`` is the value
when NAME is set and nothing otherwise. Set but empty counts as not set. It works within text too.
"""

import re
from collections.abc import Mapping
from typing import Any

_REFERENCE = re.compile(r"\$\{env\.([A-Za-z_][A-Za-z0-9_]*)(?::([=+])([^}]*))?\}")
_SLIP = re.compile(r"\$\{env\.([A-Za-z0-9_]*)|^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$")

type KeyPath = tuple[str | int, ...]


class Expanded(str):
    """Text that came out of an expansion.

    Fields with a type parse it themselves, so that a password of digits stays as it is; fields that
    hold any JSON value turn it into what YAML would have read, with ``typed``.
    """

    __slots__ = ()


class NotExpanded(Exception):
    """An expansion is not possible; the message is for the user."""


def expand(
    value: Any, environ: Mapping[str, str], path: KeyPath = ()
) -> tuple[Any, dict[KeyPath, str]]:
    """Expand all text in ``value``; also return what could not be expanded and became None."""
    if isinstance(value, str):
        try:
            return _expand_text(value, environ), {}
        except NotExpanded as exc:
            return None, {path: str(exc)}
    if isinstance(value, dict):
        pairs = {key: expand(item, environ, (*path, key)) for key, item in value.items()}
        found = {at: text for _, problems in pairs.values() for at, text in problems.items()}
        return {key: item for key, (item, _) in pairs.items()}, found
    if isinstance(value, list):
        items = [expand(item, environ, (*path, index)) for index, item in enumerate(value)]
        found = {at: text for _, problems in items for at, text in problems.items()}
        return [item for item, _ in items], found
    return value, {}


def typed(value: Any) -> Any:
    """Turn expanded text within a JSON value into the bool or number it spells."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return _scalar(value) if isinstance(value, Expanded) else value


def _scalar(text: str) -> bool | int | float | str:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return str(text)


def _expand_text(text: str, environ: Mapping[str, str]) -> str | None:
    if "${" not in text:
        return text
    if slip := _SLIP.search(_REFERENCE.sub("", text)):
        name = slip.group(1) or slip.group(2) or "NAME"
        raise NotExpanded(
            f"the reference to {name} is not understood; "
            f"write ${{env.{name}}}, ${{env.{name}:=default}} or ${{env.{name}:+value}}"
        )

    def replace(match: re.Match[str]) -> str:
        name, operator, operand = match.groups()
        return _value(name, operator, operand, environ)

    expanded = _REFERENCE.sub(replace, text)
    if expanded == text:
        return text
    return Expanded(expanded) if expanded else None


def _value(name: str, operator: str | None, operand: str, environ: Mapping[str, str]) -> str:
    given = environ.get(name, "")
    if operator == "+":
        return operand if given else ""
    if given:
        return given
    if operator is None:
        raise NotExpanded(f"the environment variable {name} is not set")
    home = environ.get("HOME", "")
    return home + operand[1:] if home and operand.startswith("~/") else operand
