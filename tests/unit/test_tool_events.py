"""What the caller is shown of tools is bounded, whatever a tool server or a model says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.foreign import check
from agent.stacks.embedded.mcp_listings import McpTool
from agent.stacks.embedded.messages import ToolCall
from agent.stacks.embedded.tool_events import ended, listing_ended, listing_started, started
from agent.stacks.embedded.topic import in_a_line, topic_of

PLAIN = McpTool("add", "Add two numbers.", {"type": "object"})


def deep(levels: int) -> Any:
    schema: Any = {}
    for _ in range(levels):
        schema = {"a": schema}
    return schema


def test_a_listing_shows_name_description_and_schema() -> None:
    begun, done = listing_started("sums", "l1"), listing_ended("sums", "l1", [PLAIN])
    assert (begun.kind, begun.name, begun.detail) == ("tool_listing", "sums", {"call_id": "l1"})
    assert (done.kind, done.name) == ("tool_listing", "sums")
    shown = {"name": "add", "description": "Add two numbers.", "input_schema": {"type": "object"}}
    assert done.detail == {"call_id": "l1", "tools": [shown]}


def test_tools_that_are_too_many_are_counted() -> None:
    """The first ones are shown; how many are not, is said."""
    tools = [McpTool(f"t{number}", "x" * 1000, {}) for number in range(500)]
    detail = listing_ended("sums", "l1", tools).detail
    assert len(msgspec.json.encode(detail)) < 70_000
    assert detail["tools"][0]["name"] == "t0"
    assert len(detail["tools"]) + detail["left_out"] == 500


@pytest.mark.parametrize(
    "tool",
    [
        McpTool("a" * 100_000, "", {}),
        McpTool("a", "ü" * 100_000, {}),
        McpTool("a", "", {"enum": ["x" * 100_000]}),
        McpTool("a", "", deep(95)),
        McpTool("a", "", deep(400)),
    ],
    ids=["name", "description", "schema", "deep", "deeper"],
)
def test_a_tool_is_shown_in_part_where_it_is_too_large_or_too_deep(tool: McpTool) -> None:
    """What is shown can be passed on as an event."""
    event = listing_ended("sums", "l1", [tool, PLAIN])
    check(event)
    assert len(msgspec.json.encode(event)) < 12_000
    assert event.detail["tools"][1]["name"] == "add"
    assert "left_out" not in event.detail


@pytest.mark.parametrize("levels", [3, 89, 90, 300])
def test_deep_arguments_can_be_passed_on(levels: int) -> None:
    """As they are, or else as text."""
    written = msgspec.json.encode(deep(levels)).decode()
    event = started(ToolCall("1", "add", written), {"type": "mcp_call"})
    check(event)
    assert event.detail["arguments"] == (deep(levels) if levels < 90 else written)


def test_arguments_that_are_no_json_are_shown_as_the_model_wrote_them() -> None:
    event = started(ToolCall("1", "add", "{broken"), {"type": "mcp_call", "server_label": "sums"})
    assert event.detail == {
        "call_id": "1",
        "arguments": "{broken",
        "type": "mcp_call",
        "server_label": "sums",
    }


def test_a_long_result_is_cut_off() -> None:
    call = ToolCall("1", "add", "{}")
    assert ended(call, "x" * 9000).detail == {"call_id": "1", "result": "x" * 4096 + "…"}
    assert ended(call, "no", failed=True).detail == {"call_id": "1", "result": "no", "failed": True}


@pytest.mark.parametrize(
    ("question", "topic"),
    [
        ("How do I set\n the port? ", "How do I set the port?"),
        ("", ""),
        (" \n ", ""),
        ("a b c d e f g h", "a b c d e f g h"),
        ("a b c d e f g h ", "a b c d e f g h"),
        ("a b c d e f g h i", "a b c d e f g h…"),
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 79 + "…"),
        ("x" * 39 + " " + "y" * 40, "x" * 39 + " " + "y" * 40),
        ("x" * 39 + " " + "y" * 41, "x" * 39 + "…"),
        ("x" * 79 + " y", "x" * 79 + "…"),
    ],
)
def test_a_question_is_its_own_topic(question: str, topic: str) -> None:
    """At most eight words and 80 characters, cut off after a word where there is one."""
    assert topic_of(question) == topic
    assert len(topic) <= 80


def test_what_a_model_calls_the_topic_is_one_line() -> None:
    assert in_a_line(" Setting\n\nthe  port ") == "Setting the port"
    assert len(in_a_line("x" * 999)) == 200
