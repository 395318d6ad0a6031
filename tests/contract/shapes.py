"""What answers look like, without what is different each time: ids, times, texts and numbers.

A shape is what there is by place: ``$.models[].type`` is ``"model"``, or ``text``, ``number``, ``null``.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

type Shape = dict[str, set[str]]

CONSTANT = frozenset(
    {
        *(
            "event",
            "type",
            "model_type",
            "api_model_type",
            "functionality",
            "status",
            "status_code",
        ),
        *("response", "reason", "success", "alive", "ready", "enabled", "truncated"),
        *("round", "object", "service"),
    }
)
"""Members whose value is the same each time, if it is one of a few."""
_WORDS = re.compile(r"[A-Za-z0-9_:. -]{1,60}")
OPEN_KEYS = frozenset({"providers", "args", "available_quotas", "securitySchemes"})
"""Objects whose members' names are as free as texts are."""
FREE = frozenset({"metadata", "input_schema"})
"""Objects that may hold anything."""


class Rules(NamedTuple):
    """Which members are told by their value, and which objects may hold anything."""

    constant: frozenset[str] = CONSTANT
    free: frozenset[str] = FREE


_LCS = Rules()


def shape_of(value: Any, rules: Rules = _LCS) -> Shape:
    """Return the shape of JSON."""
    found: Shape = {}
    _add(found, "$", "", value, rules)
    return found


def _add(found: Shape, place: str, name: str, value: Any, rules: Rules) -> None:
    if isinstance(value, dict):
        found.setdefault(place, set()).add("object")
        for key, member in value.items() if name not in rules.free else ():
            shown = "*" if name in OPEN_KEYS else key
            _add(found, f"{place}.{shown}", key, member, rules)
    elif isinstance(value, list):
        found.setdefault(place, set()).add("list" if value else "empty list")
        for item in value:
            _add(found, f"{place}[]", name, item, rules)
    else:
        found.setdefault(place, set()).add(_kind(name, value, rules))


def _kind(name: str, value: Any, rules: Rules) -> str:
    if value is None:
        return "null"
    if name in rules.constant and (not isinstance(value, str) or _WORDS.fullmatch(value)):
        return json.dumps(value)
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def different(ours: Shape, theirs: Shape) -> dict[str, str]:
    """Return where two shapes differ; what a list holds can be told only where both hold something."""
    empty = {
        place
        for shape in (ours, theirs)
        for place, kinds in shape.items()
        if kinds == {"empty list"}
    }
    found: dict[str, str] = {}
    for place in sorted(ours.keys() | theirs.keys()):
        if any(place.startswith(f"{each}[]") for each in empty):
            continue
        mine, others = (_kinds(shape, place) for shape in (ours, theirs))
        # Some items of a list have what others have not: it is enough that no item is otherwise.
        same = mine == others or ("[]" in place and mine and mine <= others)
        if not same and not _held(place, found, ours, theirs):
            found[place] = f"{_told(mine)} instead of {_told(others)}"
    return found


def _kinds(shape: Shape, place: str) -> set[str]:
    return {"list" if kind == "empty list" else kind for kind in shape.get(place, set())}


def _held(place: str, found: dict[str, str], ours: Shape, theirs: Shape) -> bool:
    """Whether it is told already: what it is in is there on one side only, or something else."""
    return any(
        place.startswith((f"{each}.", f"{each}[]"))
        and (each not in ours or each not in theirs or "null" in ours[each] | theirs[each])
        for each in found
    )


def _told(kinds: set[str]) -> str:
    return " or ".join(sorted(kinds)) or "nothing"


def events_of(text: str) -> list[dict[str, Any]]:
    """Return the events of a stream."""
    return [
        json.loads(line.removeprefix("data: "))
        for line in text.splitlines()
        if line.startswith("data: ")
    ]


def order_of(events: list[dict[str, Any]]) -> str:
    """Return the names in their order; of several in a row the first is told."""
    names = [each["event"] for each in events]
    return " ".join(
        name for at, name in enumerate(names) if at == 0 or names[at - 1] != name or name != "token"
    )


def lines_of(text: str) -> list[str]:
    """Return the lines of a stream of text: what is set stays, and what was said is ``text``."""
    kept: list[str] = []
    for line in filter(None, text.splitlines()):
        if line.startswith("data: "):
            kept.append("data")
        elif line.startswith("["):
            kept.append(line)
        elif line.startswith("Status: "):
            kept.append(" - ".join(line.split(" - ")[:2]))
        elif kept[-1:] != ["text"]:
            kept.append("text")
    return kept
