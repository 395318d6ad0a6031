"""What a row of a dataset asks."""

from __future__ import annotations

from typing import Any

import pytest

from agent.errors import InvalidParams
from agent.evaluation.row import ChatMessage, Row

CHAT = "chat_completion_input"


def said(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the messages of a row."""
    return [(each.role, each.content) for each in Row("rows[3]", values).messages()]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({CHAT: '[{"role": "user", "content": "q"}]'}, [("user", "q")]),
        ({CHAT: [{"role": "user", "content": "q"}]}, [("user", "q")]),
        (
            {
                CHAT: [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": [{"type": "text", "text": "a"}, "b"]},
                ]
            },
            [("system", "s"), ("user", "a\n\nb")],
        ),
        ({"completion_input": '"Once"', CHAT: "ignored"}, [("user", "Once")]),
        ({"completion_input": "Once upon"}, [("user", "Once upon")]),
        ({"input_query": "q", CHAT: None}, [("user", "q")]),
        ({"completion_input": "[" * 5000}, [("user", "[" * 5000)]),
    ],
)
def test_a_row_is_read_in_each_of_its_forms(
    values: dict[str, Any], wanted: list[tuple[str, str]]
) -> None:
    assert said(values) == wanted


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"a": 1}, "rows[3]"),
        ({"input_query": 5}, "rows[3]"),
        ({CHAT: "no json"}, f"rows[3].{CHAT}"),
        ({CHAT: "[" * 5000}, f"rows[3].{CHAT}"),
        ({CHAT: "[]"}, f"rows[3].{CHAT}"),
        ({CHAT: [{"content": "q"}]}, f"rows[3].{CHAT}"),
        ({CHAT: [{"role": "user", "content": {"type": "image"}}]}, f"rows[3].{CHAT}"),
        ({"completion_input": "[1]"}, "rows[3].completion_input"),
        ({"completion_input": 7}, "rows[3].completion_input"),
    ],
)
def test_a_row_that_asks_nothing_is_refused_by_its_number(
    values: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidParams) as refused:
        Row("rows[3]", values).messages()
    assert refused.value.field == field


def test_a_row_without_a_column_that_is_scored_is_refused() -> None:
    row = Row("rows[3]", {"input_query": "q", "expected_answer": None})
    with pytest.raises(InvalidParams) as refused:
        row.check({"expected_answer"})
    assert refused.value.field == "rows[3].expected_answer"
    assert row.messages() == [ChatMessage("user", "q")]
