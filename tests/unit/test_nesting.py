"""How deeply JSON is nested."""

from __future__ import annotations

import pytest

from agent.nesting import NESTING, too_deep


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_there_is_a_bound_for_lists_and_objects(opening: str, closing: str) -> None:
    for levels, expected in ((1, False), (NESTING, False), (NESTING + 1, True)):
        json = opening * levels + "1" + closing * levels
        assert too_deep(json.encode()) is expected


def test_lists_and_objects_count_together() -> None:
    levels = NESTING // 2 + 1
    assert too_deep(('[{"a":' * levels + "1" + "}]" * levels).encode())


@pytest.mark.parametrize(
    "json",
    [
        "",
        "[" + "[]," * 1_000 + "[]]",
        '"' + "[" * 1_000 + '"',
        r'["\"[[[", "\\", "' + "{" * 1_000 + '"]',
    ],
)
def test_what_is_wide_or_within_text_is_not_deep(json: str) -> None:
    assert not too_deep(json.encode())
