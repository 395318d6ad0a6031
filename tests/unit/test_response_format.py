"""The form that a caller wants an answer in."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from agent.errors import InvalidParams
from agent.stacks.response_format import SCHEMA_BYTES, ResponseFormat, json_of, response_format

SCHEMA = {"type": "object", "properties": {"sum": {"type": "integer"}}}


def read(**wanted: Any) -> ResponseFormat | None:
    return response_format({"response_format": {"type": "json_schema", **wanted}})


def test_a_schema_may_have_a_name_and_be_strict() -> None:
    wanted = read(json_schema={"name": "total", "schema": SCHEMA, "strict": True})

    assert wanted == ResponseFormat("total", SCHEMA, strict=True)
    assert wanted.fields == {"name": "total", "schema": SCHEMA, "strict": True}


@pytest.mark.parametrize(
    "wanted",
    [{"json_schema": {"schema": SCHEMA}}, {"json_schema": SCHEMA}, {"schema": SCHEMA}],
    ids=["chat", "agents", "responses"],
)
def test_a_schema_is_found_where_the_apis_have_it(wanted: Any) -> None:
    found = read(**wanted)

    assert found == ResponseFormat("answer", SCHEMA)
    assert found.fields == {"name": "answer", "schema": SCHEMA}


@pytest.mark.parametrize(
    "metadata", [{}, {"response_format": None}, {"response_format": {"type": "text"}}]
)
def test_without_a_schema_the_answer_is_text(metadata: Any) -> None:
    assert response_format(metadata) is None


@pytest.mark.parametrize(
    "wanted",
    [
        "json",
        [],
        {},
        {"type": "json_object"},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": "object"},
        {"type": "json_schema", "json_schema": {"schema": ["object"]}},
        {"type": "json_schema", "json_schema": {"schema": {}, "name": "a b"}},
        {"type": "json_schema", "json_schema": {"schema": {}, "name": "a" * 65}},
        {"type": "json_schema", "json_schema": {"schema": {}, "name": 5}},
        {"type": "json_schema", "json_schema": {"schema": {}, "strict": "yes"}},
        {"type": "json_schema", "json_schema": {"description": "x" * SCHEMA_BYTES}},
    ],
)
def test_what_is_no_schema_is_refused_by_its_path(wanted: Any) -> None:
    with pytest.raises(InvalidParams) as caught:
        response_format({"response_format": wanted})

    assert caught.value.field.startswith("metadata.response_format")


def test_a_schema_that_is_nested_too_deeply_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(200):
        schema = {"items": schema}

    with pytest.raises(InvalidParams, match="json_schema"):
        read(json_schema=schema)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('{"a": [1, null]}', {"a": [1, None]}),
        (" 5 ", 5),
        ("null", None),
        ("", UNSET),
        ("five", UNSET),
        ('{"a": 1} and more', UNSET),
        ("[" * 101 + "]" * 101, UNSET),
        ('"\ud83d"', UNSET),
    ],
)
def test_an_answer_is_read_as_json_where_it_is(text: str, data: Any) -> None:
    assert json_of(text) == data
