"""What a query may say, and what it is told that says something else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from rest_compat.lightspeed.query_request import NAME_CHARS, SOLR_BYTES, QueryRequest

UUID = "123e4567-e89b-12d3-a456-426614174000"
HEX = "0123456789abcdef" * 3


def problems(**fields: Any) -> list[tuple[tuple[Any, ...], str]]:
    """Return what is wrong with a query: where, and what."""
    with pytest.raises(ValidationError) as caught:
        QueryRequest.model_validate({"query": "why?"} | fields)
    return [(error["loc"], error["msg"]) for error in caught.value.errors()]


def test_a_query_needs_nothing_but_a_question() -> None:
    query = QueryRequest(query="why?")
    assert query.generate_topic_summary is True
    assert query.no_tools is False
    assert query.model_dump(exclude_defaults=True) == {"query": "why?"}


@pytest.mark.parametrize("conversation_id", [UUID, HEX, f"conv_{HEX}", "", None])
def test_a_conversation_is_named_by_48_hex_characters_or_a_uuid(
    conversation_id: str | None,
) -> None:
    assert QueryRequest(query="x", conversation_id=conversation_id).query == "x"


@pytest.mark.parametrize("conversation_id", ["bad", HEX[1:], f"{HEX}\n", "conv_", f"{UUID}0"])
def test_anything_else_is_told_in_the_words_of_lcs(conversation_id: str) -> None:
    said = f"Value error, Improper conversation ID '{conversation_id}'"
    assert problems(conversation_id=conversation_id) == [(("conversation_id",), said)]


@pytest.mark.parametrize(
    ("fields", "where", "said"),
    [
        ({"model": "m"}, (), "Value error, Provider must be specified if model is specified"),
        ({"provider": "p"}, (), "Value error, Model must be specified if provider is specified"),
        (
            {"media_type": "text/html"},
            (),
            "Value error, media_type must be either 'application/json' or 'text/plain'",
        ),
        (
            {"query": " \n"},
            ("query",),
            "Value error, Query cannot be empty or whitespace-only",
        ),
        ({"colour": "red"}, ("colour",), "Extra inputs are not permitted"),
        (
            {"attachments": [{"attachment_type": "log", "content_type": "text/plain"}]},
            ("attachments", 0, "content"),
            "Field required",
        ),
    ],
    ids=["provider missing", "model missing", "media type", "empty", "extra", "attachment"],
)
def test_what_is_wrong_is_told_where_it_is(
    fields: dict[str, Any], where: tuple[Any, ...], said: str
) -> None:
    assert problems(**fields) == [(where, said)]


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "m" * (NAME_CHARS + 1), "provider": "p"},
        {"model": "m\n", "provider": "p"},
        {"vector_store_ids": ["v"] * (NAME_CHARS + 1)},
        {"shield_ids": ["s\0"]},
        {"solr": {"fq": "x" * SOLR_BYTES}},
        {"solr": {"fq": "\ud800"}},
        {"query": "\ud800"},
        {"system_prompt": "\ud800"},
        {"attachments": [{"attachment_type": "", "content_type": "", "content": "\ud800"}]},
    ],
    ids=["long", "line", "many", "nul", "large", "filter", "query", "prompt", "attachment"],
)
def test_nothing_is_taken_that_has_no_bounds_or_cannot_be_passed_on(fields: dict[str, Any]) -> None:
    assert len(problems(**fields)) == 1


@pytest.mark.parametrize("levels", [110, 5000])
def test_a_filter_that_is_nested_without_end_is_a_wrong_value(levels: int) -> None:
    deep: dict[str, Any] = {}
    for _ in range(levels):
        deep = {"fq": deep}
    assert [where for where, _ in problems(solr=deep)] == [("solr",)]
