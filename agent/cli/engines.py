"""The table of engines, for people to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.engines.engines import Choice
    from agent.engines.operations import Operation


def lines_of(table: Mapping[Operation, Choice]) -> Iterator[tuple[str, str]]:
    """Yield groups with an engine and why; where a group has several, the operations of each."""
    groups: dict[str, dict[Choice, list[Operation]]] = {}
    for operation, choice in table.items():
        groups.setdefault(operation.group, {}).setdefault(choice, []).append(operation)
    for group, choices in groups.items():
        name: str = group
        for choice, operations in choices.items():
            said = ": ".join(filter(None, choice))
            yield name, f"{said} ({len(operations)})"
            name = ""
            if len(choices) > 1:
                for each in operations:
                    yield "", f"  {each.method} {each.path}"
