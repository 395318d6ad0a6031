"""How deeply JSON is nested, and how many values it has."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.nesting import NESTING, too_deep, too_many_values


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_there_is_a_bound_for_lists_and_objects(opening: str, closing: str) -> None:
    for levels, expected in ((1, False), (NESTING, False), (NESTING + 1, True)):
        written = opening * levels + "1" + closing * levels
        assert too_deep(written.encode()) is expected


def test_lists_and_objects_count_together() -> None:
    levels = NESTING // 2 + 1
    assert too_deep(('[{"a":' * levels + "1" + "}]" * levels).encode())


@pytest.mark.parametrize(
    "written",
    [
        "",
        "[" + "[]," * 1_000 + "[]]",
        '"' + "[" * 1_000 + '"',
        r'["\"[[[", "\\", "' + "{" * 1_000 + '"]',
    ],
)
def test_what_is_wide_or_within_text_is_not_deep(written: str) -> None:
    assert not too_deep(written.encode())


def weight(value: Any) -> int:
    """Count what a value has, as it is documented: lists, objects, what is in them, and names."""
    if isinstance(value, dict):
        return 1 + 2 * len(value) - bool(value) + sum(map(inner, value.values()))
    if isinstance(value, list):
        return 1 + len(value) - bool(value) + sum(map(inner, value))
    return 0


def inner(value: Any) -> int:
    return weight(value) if isinstance(value, dict | list) else 0


odd_text = st.text(alphabet='a,:[]{}"\\\n', max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | odd_text,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(odd_text, inside, max_size=4),
    max_leaves=20,
)


@given(values, st.booleans())
def test_values_are_counted_whatever_texts_hold(value: Any, within_text: bool) -> None:
    """``within_text`` quotes all of it, once more: then there is one value."""
    if within_text:
        value = json.dumps(value)
    written = json.dumps(value).encode()
    expected = weight(value)

    assert not too_many_values(written, max(expected, 1))
    if expected:
        assert too_many_values(written, expected - 1)


@pytest.mark.parametrize(
    "written",
    [b"[" * 1001, b"[" + b"1," * 1000, b'{"a":[' + b"{}," * 1000, b"[" + b'"",' * 1000 + b"oops"],
    ids=["open lists", "no end", "an open object", "no value in the end"],
)
def test_what_is_valid_only_as_far_as_it_goes_is_counted(written: bytes) -> None:
    assert too_many_values(written, 1000)


@pytest.mark.parametrize(
    "text",
    ["a,b:c\n" * 1000, '"a","b"\r\n' * 1000, "\\" * 3000, '\\",' * 1000, "[{" * 1000],
    ids=["commas", "quotes", "backslashes", "both", "brackets"],
)
def test_a_long_text_is_one_value(text: str) -> None:
    assert not too_many_values(json.dumps({"text": text}).encode(), 10)
