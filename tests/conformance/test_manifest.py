"""The requirements and the tests that show them, held against each other."""

from __future__ import annotations

import ast
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conformance._requirements import A2A_0_3, A2A_1_0, JSON_RPC, REQUIREMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parents[1]


def marks(path: Path) -> Iterator[str]:
    """Yield what the ``@requirement(...)`` decorators of a file name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.name.startswith("test_") or not node.decorator_list
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "requirement":
                    yield from (ast.literal_eval(argument) for argument in decorator.args)


def marked() -> set[str]:
    return set(chain.from_iterable(marks(path) for path in TESTS.glob("conformance/test_*.py")))


def test_every_requirement_has_a_test() -> None:
    assert sorted(REQUIREMENTS.keys() - marked()) == []


def test_every_marked_requirement_exists() -> None:
    assert sorted(marked() - REQUIREMENTS.keys()) == []


def test_every_requirement_has_an_id_of_its_own() -> None:
    assert len(REQUIREMENTS) == len(JSON_RPC) + len(A2A_1_0) + len(A2A_0_3)


def test_the_deliberate_deviations_are_those_of_the_design() -> None:
    assert {row.id for row in REQUIREMENTS.values() if row.deviation} == {
        "rpc/batch-any-method",
        "1.0/auth-stream",
        "1.0/content-type-code",
        "1.0/context-new-task",
        "1.0/reference-tasks",
        "1.0/version-empty",
        "1.0/version-semantics",
    }
