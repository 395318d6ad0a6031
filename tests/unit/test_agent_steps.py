"""The events of a turn become the steps that the agents API tells of."""

from __future__ import annotations

from typing import Any

from agent import stacks
from agent.agents.step_builder import StepBuilder
from agent.agents.wire import step_id_of

CALL = {"call_id": "c-1", "tool_name": "add", "arguments": '{"a":1}'}
ASKED = {"call_id": "c-1", "tool_name": "add", "arguments": {"a": 1}}
STARTED = stacks.StepStarted("tool_execution", "add", {"call_id": "c-1", "arguments": {"a": 1}})
ENDED = stacks.StepEnded("tool_execution", "add", {"call_id": "c-1", "result": "42"})
DONE = stacks.TurnCompleted("end_of_turn")

type Told = list[tuple[str, str, Any]]


def hear(builder: StepBuilder, *events: stacks.TurnEvent) -> Told:
    """Return kind, step type and content of each payload."""
    payloads = [payload for event in events for payload in builder.hear(event, "T")]
    return [
        (
            payload["event_type"].removeprefix("step_"),
            payload["step_type"],
            _content(payload),
        )
        for payload in payloads
    ]


def _content(payload: Any) -> Any:
    if "metadata" in payload:
        return payload["metadata"]
    if "delta" in payload:
        delta = payload["delta"]
        return delta.get("text") or (delta["tool_call"], delta["parse_status"])
    details = payload["step_details"]
    fields = ("model_response", "tool_responses", "violation")
    return next(details[field] for field in fields if field in details)


def said(text: str, stop_reason: str = "end_of_turn", *calls: Any) -> Any:
    return {
        "role": "assistant",
        "content": text,
        "stop_reason": stop_reason,
        "tool_calls": list(calls),
    }


def result(content: str) -> Any:
    return {"call_id": "c-1", "tool_name": "add", "content": content, "metadata": None}


def ids(builder: StepBuilder) -> list[str]:
    return [step["step_id"] for step in builder.steps]


def test_a_text_is_one_inference() -> None:
    told = hear(StepBuilder("t"), stacks.TextDelta("Hel"), stacks.TextDelta("lo"), DONE)
    assert told == [
        ("start", "inference", {}),
        ("progress", "inference", "Hel"),
        ("progress", "inference", "lo"),
        ("complete", "inference", said("Hello")),
    ]


def test_a_turn_that_says_nothing_has_an_inference_all_the_same() -> None:
    told = hear(StepBuilder("t"), stacks.TurnCompleted("end_of_turn", ""))
    assert [kind for kind, *_ in told] == ["start", "complete"]


def test_a_tool_call_ends_the_inference_that_calls() -> None:
    builder = StepBuilder("t")
    told = hear(
        builder,
        stacks.StepStarted("inference"),
        stacks.StepEnded("inference"),
        STARTED,
        ENDED,
        stacks.TextDelta("42"),
        stacks.TurnCompleted("out_of_tokens"),
    )
    assert told == [
        ("start", "inference", {}),
        ("progress", "inference", (CALL, "succeeded")),
        ("complete", "inference", said("", "end_of_message", CALL)),
        ("start", "tool_execution", {}),
        ("progress", "tool_execution", (CALL, "in_progress")),
        ("complete", "tool_execution", [result("42")]),
        ("start", "inference", {}),
        ("progress", "inference", "42"),
        ("complete", "inference", said("42", "out_of_tokens")),
    ]
    assert ids(builder) == [
        step_id_of("t", "inference", 1),
        step_id_of("t", "tool_execution", "c-1"),
        step_id_of("t", "inference", 2),
    ]


def test_what_the_stack_corrects_in_the_end_is_what_was_said() -> None:
    builder = StepBuilder("t")
    hear(builder, stacks.TextDelta("Helo"), stacks.TurnCompleted("end_of_turn", "Hello"))
    assert builder.steps[-1]["model_response"]["content"] == "Hello"


def test_a_correction_leaves_what_was_said_before_a_tool_call() -> None:
    builder = StepBuilder("t")
    whole = stacks.TurnCompleted("end_of_turn", "Wait. Done!")
    hear(builder, stacks.TextDelta("Wait. "), STARTED, ENDED, stacks.TextDelta("Done"), whole)
    texts = [s["model_response"]["content"] for s in builder.steps if "model_response" in s]
    assert texts == ["Wait. ", "Done!"]


def test_texts_beside_the_answer_and_listings_are_no_steps() -> None:
    told = hear(
        StepBuilder("t"),
        stacks.TextDelta("aside", "notes"),
        stacks.StepStarted("tool_listing", "mcp", {"call_id": "l-1"}),
        stacks.StepEnded("tool_listing", "mcp", {"call_id": "l-1"}),
    )
    assert told == []


def test_a_turn_that_waits_has_an_inference_with_the_calls() -> None:
    builder = StepBuilder("t")
    asks = stacks.InputRequired("?", {"type": "tool_calls", "tool_calls": [ASKED]})
    told = hear(builder, asks)
    assert told[-1] == ("complete", "inference", said("", "end_of_message", CALL))


def test_what_is_resumed_begins_with_the_results_that_the_caller_gave() -> None:
    builder = StepBuilder("t")
    hear(builder, stacks.InputRequired("?", {"tool_calls": [ASKED]}))
    builder.resume([CALL], {"c-1": "12C"}, "T")
    told = hear(builder, stacks.TurnStarted("r"), stacks.TextDelta("ok"), DONE)
    assert told[0] == ("complete", "tool_execution", [result("12C")])
    assert [kind for kind, *_ in told[1:]] == ["start", "progress", "complete"]
    assert len(set(ids(builder))) == 3


def test_results_that_the_stack_tells_of_again_are_told_once() -> None:
    builder = StepBuilder("t")
    hear(builder, stacks.InputRequired("?", {"tool_calls": [ASKED]}))
    builder.resume([CALL], {"c-1": "12C"}, "T")
    told = hear(builder, STARTED, ENDED, stacks.TextDelta("ok"), DONE)
    assert [step for _, step, _ in told].count("tool_execution") == 1


def test_a_call_that_was_approved_runs_without_another_inference() -> None:
    builder = StepBuilder("t")
    hear(builder, stacks.InputRequired("?", {"approvals": [ASKED]}))
    builder.resume([CALL], {}, "T")
    told = hear(builder, STARTED, ENDED, stacks.TextDelta("42"), DONE)
    assert told[0] == ("start", "tool_execution", {})


def test_a_shield_that_objects_tells_the_refusal() -> None:
    builder = StepBuilder("t")
    found = {"violation": {"level": "error", "type": "S9"}}
    told = hear(
        builder,
        stacks.StepStarted("shield_call", "guard"),
        stacks.StepEnded("shield_call", "guard", found),
        stacks.Rejected("No."),
    )
    violation = {
        "violation_level": "error",
        "user_message": "No.",
        "metadata": {"violation_type": "S9"},
    }
    assert told == [
        ("start", "shield_call", {"touchpoint": "user-input"}),
        ("complete", "shield_call", violation),
    ]


def test_a_refusal_without_a_shield_has_a_shield_call_all_the_same() -> None:
    told = hear(StepBuilder("t"), stacks.TextDelta("Sure"), stacks.Rejected("No."))
    kinds = [(kind, step) for kind, step, _ in told[2:]]
    assert kinds == [
        ("complete", "inference"),
        ("start", "shield_call"),
        ("complete", "shield_call"),
    ]
    assert told[3][2] == {"touchpoint": "assistant-output"}


def test_shields_that_pass_stand_before_and_after_the_answer() -> None:
    passes = stacks.StepEnded("shield_call", "guard", {"violation": None})
    starts = stacks.StepStarted("shield_call", "guard")
    builder = StepBuilder("t")
    told = hear(builder, starts, passes, stacks.TextDelta("hi"), starts, passes, DONE)
    assert [step["step_type"] for step in builder.steps] == [
        "shield_call",
        "inference",
        "shield_call",
    ]
    touchpoints = [content for kind, step, content in told if step == "shield_call" and content]
    assert touchpoints == [{"touchpoint": "user-input"}, {"touchpoint": "assistant-output"}]


def recorded(step_id: str, kind: str, **fields: Any) -> stacks.StepRecorded:
    step = {"turn_id": "theirs", "step_id": step_id, "step_type": kind, **fields}
    return stacks.StepRecorded({**step, "started_at": "A", "completed_at": "B"})


def test_steps_that_the_stack_records_are_told_as_they_are_in_the_turn_of_the_task() -> None:
    builder = StepBuilder("t")
    responses = [{"call_id": "c-1", "tool_name": "add", "content": "42"}]
    kept = stacks.StepStarted("tool_execution", "add", STARTED.detail, "s-2")
    told = hear(
        builder,
        stacks.StepStarted("inference", step_id="s-1"),
        stacks.StepEnded("inference"),
        recorded("s-1", "inference", model_response=said("", "end_of_message", CALL)),
        kept,
        ENDED,
        recorded("s-2", "tool_execution", tool_calls=[CALL], tool_responses=responses),
        stacks.StepStarted("inference", step_id="s-3"),
        stacks.TextDelta("42"),
        recorded("s-3", "inference", model_response=said("42")),
        stacks.TurnCompleted("end_of_turn", "42"),
    )
    assert told == [
        ("start", "inference", {}),
        ("progress", "inference", (CALL, "succeeded")),
        ("complete", "inference", said("", "end_of_message", CALL)),
        ("start", "tool_execution", {}),
        ("progress", "tool_execution", (CALL, "in_progress")),
        ("complete", "tool_execution", [result("42")]),
        ("start", "inference", {}),
        ("progress", "inference", "42"),
        ("complete", "inference", said("42")),
    ]
    assert ids(builder) == ["s-1", "s-2", "s-3"]
    assert {step["turn_id"] for step in builder.steps} == {"t"}


def test_text_that_was_held_back_for_a_shield_is_not_told_twice() -> None:
    told = hear(
        StepBuilder("t"),
        stacks.StepStarted("inference", step_id="s-1"),
        recorded("s-1", "inference", model_response=said("hi")),
        stacks.TextDelta("hi"),
        DONE,
    )
    assert [kind for kind, *_ in told] == ["start", "complete"]


def test_what_separates_two_answers_belongs_to_neither() -> None:
    builder = StepBuilder("t")
    first = recorded("s-1", "inference", model_response=said("one", "end_of_message", CALL))
    told = hear(
        builder,
        stacks.StepStarted("inference", step_id="s-1"),
        stacks.TextDelta("one"),
        first,
        stacks.StepStarted("inference", step_id="s-2"),
        stacks.TextDelta("\n\n"),
        stacks.TextDelta("two"),
    )
    assert told[-1] == ("progress", "inference", "two")
    assert told[-2][0] == "start"


def test_a_turn_that_begins_again_forgets_what_its_process_had_done() -> None:
    builder = StepBuilder("t")
    hear(builder, STARTED, ENDED, stacks.TextDelta("4"))
    builder.begin_again()
    hear(builder, stacks.TextDelta("42"), DONE)
    assert [step["model_response"]["content"] for step in builder.steps] == ["42"]
    assert ids(builder) == [step_id_of("t", "inference", 1)]


def test_an_answer_that_is_a_message_is_an_inference() -> None:
    builder = StepBuilder("t")
    hear(builder, stacks.DirectMessage((stacks.TextPart("hi"),)))
    assert builder.steps[0]["model_response"] == said("hi")
