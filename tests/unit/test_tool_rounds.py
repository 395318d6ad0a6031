"""What a task tells of its tools: which was asked what, what came of it, in which round of the model."""

from __future__ import annotations

from typing import Any

import pytest

from agent.model import ArtifactUpdate, StatusUpdate
from agent.stacks import (
    InputRequired,
    StepEnded,
    StepStarted,
    TextPart,
    TurnCompleted,
    TurnRequest,
)
from agent.translation import Translation

REQUEST = TurnRequest(
    conversation_id="c",
    task_id="t",
    context_id="c",
    message_id="m",
    owner="me",
    tenant="",
    parts=(TextPart("hi"),),
)
THINKS = (StepStarted("inference"), StepEnded("inference"))
DONE = TurnCompleted("end_of_turn")


def called(call_id: Any, name: str = "add", **detail: Any) -> StepStarted:
    return StepStarted("tool_execution", name, {"call_id": call_id, **detail})


def ended(call_id: Any, result: str, name: str = "add", **detail: Any) -> StepEnded:
    return StepEnded("tool_execution", name, {"call_id": call_id, "result": result, **detail})


def events_of(*events: Any) -> list[Any]:
    translation = Translation(REQUEST, ())
    return [said for event in events for said in translation.translate(event)]


def results(*events: Any) -> list[dict[str, Any]]:
    """Return what the artifact of the tools holds; there is one at most."""
    updates = [event for event in events_of(*events) if isinstance(event, ArtifactUpdate)]
    found = [each.artifact for each in updates if each.artifact.artifact_id == "tool_results"]
    assert len(found) <= 1
    data: Any = found[0].parts[0].data if found else {"tool_results": []}
    held: list[dict[str, Any]] = data["tool_results"]
    return held


def steps_of(*events: Any) -> list[dict[str, Any]]:
    """Return what the updates of the status tell."""
    told = [e.metadata for e in events_of(*events) if isinstance(e, StatusUpdate) and e.metadata]
    return [metadata["step"] for metadata in told if "step" in metadata]


def test_rounds_count_how_often_the_model_was_asked() -> None:
    """The tools that it calls at once are of one round."""
    told = results(
        *THINKS,
        *(called("1"), ended("1", "a"), called("2"), ended("2", "b")),
        *THINKS,
        *(called("3"), ended("3", "c")),
        *THINKS,
        DONE,
    )
    assert [(each["result"]["result"], each["round"]) for each in told] == [
        ("a", 1),
        ("b", 1),
        ("c", 2),
    ]


def test_a_result_says_what_the_tool_was_asked() -> None:
    told = results(
        *THINKS,
        called("1", arguments={"a": 2}, type="mcp_call", server_label="sums"),
        ended("1", "no", failed=True),
        DONE,
    )
    assert told == [
        {
            "tool_name": "add",
            "result": {"call_id": "1", "result": "no", "failed": True},
            "arguments": {"a": 2},
            "type": "mcp_call",
            "round": 1,
        }
    ]


def test_calls_that_run_at_once_are_told_apart() -> None:
    """By their ids, in whichever order they end."""
    told = results(
        *THINKS,
        *(called("1", arguments={"n": 1}), called("2", "sub", arguments={"n": 2})),
        *(ended("2", "two", "sub"), ended("1", "one")),
        DONE,
    )
    assert [(e["tool_name"], e["arguments"], e["result"]["result"]) for e in told] == [
        ("sub", {"n": 2}, "two"),
        ("add", {"n": 1}, "one"),
    ]


def test_an_id_that_is_used_again_is_another_call() -> None:
    told = results(
        *THINKS,
        *(called("1", arguments={"n": 1}), ended("1", "one")),
        *THINKS,
        *(called("1", arguments={"n": 2}), ended("1", "two")),
        ended("1", "three"),
        DONE,
    )
    assert [(each.get("arguments"), each["round"]) for each in told] == [
        ({"n": 1}, 1),
        ({"n": 2}, 2),
        (None, 2),
    ]


def test_what_a_turn_is_resumed_with_is_of_its_first_round() -> None:
    told = results(called("1"), ended("1", "rain"), *THINKS, called("2"), ended("2", "x"), DONE)
    assert [each["round"] for each in told] == [1, 1]


def test_a_listing_is_no_result_of_a_tool() -> None:
    """It is told as it happens."""
    listing = {"call_id": "l", "tools": [{"name": "add"}]}
    events = (
        StepStarted("tool_listing", "sums", {"call_id": "l"}),
        StepEnded("tool_listing", "sums", listing),
        *THINKS,
        DONE,
    )
    assert results(*events) == []
    steps = steps_of(*events)
    assert [(step["kind"], step["name"], step["state"]) for step in steps[:2]] == [
        ("tool_listing", "sums", "started"),
        ("tool_listing", "sums", "ended"),
    ]
    assert steps[1]["detail"] == listing


def test_a_call_without_an_end_has_no_result() -> None:
    assert results(*THINKS, called("1"), *THINKS, DONE) == []
    assert results(*THINKS, called("1"), StepEnded("tool_execution", "add"), DONE) == []


@pytest.mark.parametrize("detail", [7, "text", [1], {}, {"call_id": None}, {"call_id": ["x"]}])
def test_details_of_another_shape_are_passed_on(detail: Any) -> None:
    """A stack of somebody's own may say what it likes."""
    told = results(
        StepStarted("tool_execution", "add", detail),
        StepEnded("tool_execution", "add", detail),
        DONE,
    )
    assert [(each["tool_name"], each["result"], each["round"]) for each in told] == [
        ("add", detail, 1)
    ]


def test_a_turn_that_asks_tells_its_steps_all_the_same() -> None:
    steps = steps_of(*THINKS, called("1"), ended("1", "a"), InputRequired("Which?"))
    assert [step["kind"] for step in steps] == ["inference"] * 2 + ["tool_execution"] * 2
