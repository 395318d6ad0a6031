"""The requirements and the tests that show them, held against each other."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conformance._requirements import REQUIREMENTS, ROWS
from tests.conformance._requirements.row import SURFACES
from tests.conformance.shown import MARK, shown_by_function

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

HERE = Path(__file__).parent


def functions() -> Iterator[tuple[str, Any]]:
    """Yield every test of this folder, with its name."""
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(f"tests.conformance.{path.stem}")
        for name, value in vars(module).items():
            if name.startswith("test_"):
                yield f"{path.name}::{name}", value


def marks(function: Any) -> list[pytest.Mark]:
    return [mark for mark in getattr(function, "pytestmark", []) if mark.name == MARK]


def test_every_requirement_has_a_test_wherever_it_is_asked() -> None:
    shown = {found for _, function in functions() for found in shown_by_function(function)}
    asked = {(row.id, surface) for row in ROWS if not row.gap for surface in row.surfaces}
    assert sorted(asked - shown) == []


def test_every_marked_requirement_exists() -> None:
    marked = {row for _, function in functions() for mark in marks(function) for row in mark.args}
    assert sorted(marked - REQUIREMENTS.keys()) == []


def test_every_mark_shows_something() -> None:
    """A version that a test does not speak, or a place where nothing is asked, would say nothing."""
    idle = {
        (name, row)
        for name, function in functions()
        for mark in marks(function)
        for row in mark.args
        if row not in {shown for shown, _ in shown_by_function(function)}
    }
    assert sorted(idle) == []


def test_every_requirement_has_an_id_of_its_own_and_a_place() -> None:
    assert len(REQUIREMENTS) == len(ROWS)
    assert all(set(row.surfaces) <= set(SURFACES) for row in ROWS)


def test_the_deliberate_deviations_are_those_of_the_design() -> None:
    assert {row.id for row in ROWS if row.deviation} == {
        "0.3/http-shape",
        "rpc/batch-any-method",
        "1.0/auth-stream",
        "1.0/content-type-code",
        "1.0/context-new-task",
        "1.0/http-media-type",
        "1.0/version-empty",
        "1.0/version-semantics",
    }


def test_the_gaps_are_those_that_are_known() -> None:
    assert {row.id for row in ROWS if row.gap} == {
        "1.0/error-agent-response",
        "1.0/error-extended-card",
    }
