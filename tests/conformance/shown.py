"""What a test shows: which requirements, and where they are met."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from tests.conformance._requirements import REQUIREMENTS
from tests.conformance._requirements.row import BINDINGS
from tests.conformance.wires import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pytest

    from tests.conformance.wire import Wire

    type Shown = tuple[str, str]
    """The id of a requirement, and a surface."""

MARK = "requirement"
BINDING = "BINDING"
"""What a module of tests names the binding by that all of it is about."""


def shown_by_item(item: pytest.Item) -> set[Shown]:
    """Return what one run of a test shows."""
    params: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    wires = [params[name] for name in FIXTURES if name in params]
    binding = getattr(getattr(item, "module", None), BINDING, None)
    return {found for mark in item.iter_markers(MARK) for found in _shown(mark, wires, binding)}


def shown_by_function(function: Callable[..., object]) -> set[Shown]:
    """Return what a test shows, run with all of its parameters."""
    marks: list[pytest.Mark] = getattr(function, "pytestmark", [])
    wires = list(_wires(function, marks))
    binding = getattr(inspect.getmodule(function), BINDING, None)
    own = (mark for mark in marks if mark.name == MARK)
    return {found for mark in own for found in _shown(mark, wires, binding)}


def _wires(function: Callable[..., object], marks: list[pytest.Mark]) -> Iterator[Wire]:
    given: dict[str, list[Wire]] = {}
    for mark in marks:
        if mark.name == "parametrize":
            names, values = mark.args[0], list(mark.args[1])
            if isinstance(names, str):
                names, values = (names,), [(value,) for value in values]
            for index, name in enumerate(names):
                given[name] = [row[index] for row in values]
    for name in inspect.signature(function).parameters:
        if name in FIXTURES:
            yield from given.get(name, FIXTURES[name])


def _shown(mark: pytest.Mark, wires: Iterable[Wire], binding: str | None) -> Iterator[Shown]:
    for requirement_id in mark.args:
        on = mark.kwargs["on"] or binding
        for surface in _surfaces(requirement_id, on, list(wires)):
            yield requirement_id, surface


def _surfaces(requirement_id: str, on: str | None, wires: list[Wire]) -> set[str]:
    asked = set(REQUIREMENTS[requirement_id].surfaces)
    if on in asked:
        return {on}
    if not wires:
        # A test that speaks no wire shows what there is one place for.
        return asked if len(asked) == 1 else set()
    version = REQUIREMENTS[requirement_id].version
    spoken = {wire.binding for wire in wires if version in {wire.version, "rpc"}}
    return asked & spoken or (asked - set(BINDINGS) if spoken else set())
