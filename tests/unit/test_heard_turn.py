"""Events of a task, as LCS tells of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from agent import stacks
from agent.model import (
    Artifact,
    ArtifactUpdate,
    Message,
    Part,
    Role,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
)
from agent.translation import Translation
from rest_compat.lightspeed.heard_turn import HeardTurn, Refusal, Token
from rest_compat.lightspeed.tool_summaries import ToolCallSummary, ToolResultSummary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.model import Event
    from rest_compat.lightspeed.heard_turn import Piece

REQUEST = stacks.TurnRequest(
    conversation_id="c",
    task_id="t",
    context_id="context",
    message_id="m",
    owner="o",
    tenant="",
    parts=(stacks.TextPart("?"),),
)
DONE = stacks.TurnCompleted("end_of_turn")


def told(
    *events: Any, earlier: Sequence[Artifact] = (), model: str | None = None
) -> tuple[HeardTurn, list[Piece]]:
    """Return what is heard of a turn of these events of a stack, and what is told of it."""
    status = TaskStatus(TaskState.SUBMITTED)
    happened: list[Event] = [Task("t", "context", status, artifacts=list(earlier))]
    turn = Translation(REQUEST, {each.artifact_id for each in earlier})
    for event in events:
        happened += turn.translate(event)
    return heard(*happened, model=model)


def heard(*happened: Event, model: str | None = None) -> tuple[HeardTurn, list[Piece]]:
    """Return what is heard of these events of a task, and what is told of them."""
    turn = HeardTurn(model)
    return turn, [piece for event in happened for piece in turn.hear(event)]


def status(state: TaskState, text: str = "", **metadata: Any) -> StatusUpdate:
    """Return a status of the task."""
    message = Message("s", Role.AGENT, [Part(text=text)]) if text else None
    return StatusUpdate("t", "context", TaskStatus(state, message), metadata or None)


def step(kind: str, state: str, name: str = "", **detail: Any) -> StatusUpdate:
    """Return a step of the task."""
    return status(
        TaskState.WORKING, step={"kind": kind, "state": state, "name": name, "detail": detail}
    )


def answer(text: str, *, append: bool = True, last: bool = False) -> ArtifactUpdate:
    """Return a piece of the answer."""
    artifact = Artifact("answer", [Part(text=text)])
    return ArtifactUpdate("t", "context", artifact, append, last)


def test_an_answer_is_tokens_and_then_all_of_them() -> None:
    turn, pieces = told(
        stacks.TurnStarted("1"),
        stacks.TextDelta("The "),
        stacks.TextDelta("fox"),
        stacks.Usage(10, 20),
        DONE,
    )
    assert pieces == [Token("The "), Token("fox")]
    assert turn.text == "The fox"
    assert turn.context_id == "context"
    assert (turn.input_tokens, turn.output_tokens) == (10, 20)
    assert (turn.problem, turn.refusal, turn.cut_off) == (None, None, None)


def test_an_answer_that_comes_at_once_is_one_token() -> None:
    assert told(stacks.TurnCompleted("end_of_turn", "yes"))[1] == [Token("yes")]


def test_what_a_stack_corrects_is_told_in_the_end_only() -> None:
    turn, pieces = told(stacks.TextDelta("Teh fox"), stacks.TurnCompleted("end", "The fox"))
    assert pieces == [Token("Teh fox")]
    assert turn.text == "The fox"


def test_a_turn_has_begun_when_the_stack_has_said_anything() -> None:
    turn = HeardTurn()
    list(turn.hear(Task("t", "context", TaskStatus(TaskState.SUBMITTED))))
    assert not turn.has_begun
    list(turn.hear(status(TaskState.WORKING)))
    assert turn.has_begun


def test_tools_are_told_with_their_rounds() -> None:
    turn, pieces = told(
        stacks.StepStarted("tool_listing", "mcp", {"call_id": "l"}),
        stacks.StepEnded("tool_listing", "mcp", {"call_id": "l", "tools": [{"name": "look"}]}),
        stacks.StepStarted("inference"),
        stacks.StepStarted(
            "tool_execution",
            "look",
            {
                "call_id": "a",
                "arguments": '{"for": "fox"}',
                "type": "mcp_call",
                "server_label": "mcp",
            },
        ),
        stacks.StepEnded("tool_execution", "look", {"call_id": "a", "result": "a fox"}),
        stacks.StepStarted("inference"),
        stacks.StepStarted(
            "tool_execution", "sum", {"call_id": "b", "arguments": {}, "type": "function_call"}
        ),
        stacks.StepEnded("tool_execution", "sum", {"call_id": "b", "result": [1], "failed": True}),
        DONE,
    )
    assert [type(piece) for piece in pieces] == [ToolCallSummary, ToolResultSummary] * 3
    assert [call.model_dump() for call in turn.tool_calls] == [
        {
            "id": "l",
            "name": "mcp_list_tools",
            "args": {"server_label": "mcp"},
            "type": "mcp_list_tools",
        },
        {
            "id": "a",
            "name": "look",
            "args": {"for": "fox", "server_label": "mcp"},
            "type": "mcp_call",
        },
        {"id": "b", "name": "sum", "args": {}, "type": "function_call"},
    ]
    listed = '{"server_label": "mcp", "tools": [{"name": "look"}]}'
    assert [tuple(result.model_dump().values()) for result in turn.tool_results] == [
        ("l", "success", listed, "mcp_list_tools", 1),
        ("a", "success", "a fox", "mcp_call", 1),
        ("b", "failure", "[1]", "function_call", 2),
    ]


@pytest.mark.parametrize(
    ("arguments", "args"),
    [
        ('{"a": 1}', {"a": 1}),
        ('{"a": NaN}', {"args": '{"a": NaN}'}),
        ('{"a": ', {"args": '{"a": '}),
        ("[1]", {"args": "[1]"}),
        ("", {}),
        (None, {}),
        ([1], {"args": [1]}),
        ({"a": float("inf")}, {"a": None}),
    ],
    ids=["text", "nan", "cut off", "list", "empty", "none", "items", "infinite"],
)
def test_arguments_are_an_object_whatever_a_model_wrote(arguments: Any, args: Any) -> None:
    turn, _ = heard(step("tool_execution", "started", "t", call_id="1", arguments=arguments))
    assert turn.tool_calls[0].args == args


def test_what_a_stack_says_of_a_tool_is_made_json() -> None:
    at = datetime(2026, 1, 31, tzinfo=UTC)
    detail = {"call_id": 1, "arguments": {"at": at}, "type": 5}
    turn, _ = heard(
        step("tool_execution", "started", "t", **detail),
        step("tool_execution", "ended", "t", call_id=1, result={"at": at}),
    )
    call, result = turn.tool_calls[0], turn.tool_results[0]
    assert (call.id, call.type, call.args) == ("1", "5", {"at": "2026-01-31T00:00:00Z"})
    assert result.content == '{"at": "2026-01-31T00:00:00Z"}'


def test_what_is_no_tool_is_not_told() -> None:
    turn, pieces = told(
        stacks.StepStarted("inference"),
        stacks.StepEnded("inference", detail={"stop_reason": "x"}),
        stacks.StepStarted("shield_call", "guard"),
        stacks.StepEnded("shield_call", "guard", {"violation": None}),
        stacks.StepStarted("tool_execution", "nameless"),
        DONE,
    )
    assert (pieces, turn.tool_calls, turn.tool_results) == ([], [], [])


def test_citations_are_kept_for_the_end() -> None:
    turn, _ = told(
        stacks.TextDelta("x"), stacks.Citation("A", "https://a.test/", "text", "1", 0.5), DONE
    )
    assert turn.citations == [stacks.Citation("A", "https://a.test/", "text", "1", 0.5)]


def test_a_refusal_is_what_the_shield_says() -> None:
    turn, pieces = told(stacks.Rejected("No."))
    assert pieces == [Refusal("No.")]
    assert turn.refusal == "No."
    assert turn.problem is None


@pytest.mark.parametrize("kind", [stacks.InputRequired, stacks.AuthRequired])
def test_a_question_follows_what_was_said(kind: Any) -> None:
    turn, pieces = told(stacks.TextDelta("Wait."), kind("Which city?"))
    assert pieces == [Token("Wait."), Token("\n\nWhich city?")]
    assert turn.text == "Wait.\n\nWhich city?"
    assert told(kind("Which city?"))[0].text == "Which city?"


def test_a_message_instead_of_a_task_is_an_answer() -> None:
    turn, pieces = heard(Message("m", Role.AGENT, [Part(text="hi")], context_id="other"))
    assert (turn.text, turn.context_id, turn.has_begun) == ("hi", "other", True)
    assert pieces == [Token("hi")]


def test_a_turn_that_goes_on_tells_nothing_of_what_was_before() -> None:
    before = [Artifact("answer", [Part(text="old")]), Artifact("citations", [Part(data={})])]
    turn, pieces = told(
        stacks.TextDelta("new"), stacks.Citation("B", text="b"), DONE, earlier=before
    )
    assert pieces == [Token("new")]
    assert [citation.title for citation in turn.citations] == ["B"]


def test_what_a_stack_calls_otherwise_is_the_answer_if_there_is_no_other() -> None:
    """As in the history of the conversation."""
    notes = [stacks.TextDelta("A no", "notes"), stacks.TextDelta("te.", "notes")]
    turn, pieces = told(*notes, stacks.TextDelta("Another.", "more"), DONE)
    assert turn.text == "A note.\n\nAnother."
    assert [piece for piece in pieces if isinstance(piece, Token)] == [Token(turn.text)]
    turn, _ = told(*notes, stacks.InputRequired("Which?"))
    assert turn.text == "A note.\n\nWhich?"
    turn, pieces = told(*notes, stacks.TextDelta("Yes."), DONE)
    assert (turn.text, pieces) == ("Yes.", [Token("Yes.")])
    turn, _ = told(*notes, stacks.Failed("Broken."))
    assert turn.text == ""


def test_files_beside_the_answer_are_no_part_of_its_text() -> None:
    turn, pieces = told(
        stacks.ArtifactPart((stacks.TextPart("file"),), "files"), stacks.TextDelta("x"), DONE
    )
    assert (pieces, turn.text) == ([Token("x")], "x")


@pytest.mark.parametrize(
    ("reason", "status_code", "response", "cause"),
    [
        (
            "PROMPT_TOO_LONG",
            413,
            "Prompt is too long",
            "The prompt exceeds the maximum allowed length.",
        ),
        (
            "STACK_UNAVAILABLE",
            503,
            "Unable to connect to Llama Stack",
            "Connection error while trying to reach backend service.",
        ),
        (
            "STACK_TIMEOUT",
            503,
            "Unable to connect to Llama Stack",
            "Connection error while trying to reach backend service.",
        ),
        ("MODEL_NOT_FOUND", 404, "Model not found", "Model with ID gpt does not exist"),
        ("TURN_FAILED", 500, "Error while processing query", "It broke."),
        (["a"], 500, "Error while processing query", "It broke."),
        (None, 500, "Error while processing query", "It broke."),
    ],
    ids=str,
)
def test_why_a_turn_failed_is_told_in_the_words_of_lcs(
    reason: Any, status_code: int, response: str, cause: str
) -> None:
    turn, _ = heard(status(TaskState.FAILED, "It broke.", reason=reason), model="gpt")
    assert turn.problem is not None
    problem = turn.problem.status, turn.problem.response, turn.problem.cause
    assert problem == (status_code, response, cause)
    assert ("Retry-After" in turn.problem.headers) == (status_code == 503)


def test_a_turn_that_was_canceled_has_no_answer() -> None:
    turn, _ = heard(answer("half", append=False), status(TaskState.CANCELED))
    assert turn.problem is not None
    assert (turn.problem.status, turn.problem.cause) == (500, "The task was canceled.")


def test_an_answer_that_was_cut_off_is_one_all_the_same() -> None:
    turn, _ = told(stacks.TextDelta("hal"), stacks.TurnCompleted("out_of_tokens"))
    assert turn.text == "hal"
    assert turn.problem is None
    assert turn.cut_off is not None
    assert "limit of tokens" in turn.cut_off.cause


def test_what_a_turn_did_before_its_process_died_is_forgotten_when_it_does_it_again() -> None:
    call = {"call_id": "1", "arguments": {}}
    again: list[Event] = [
        step("inference", "started"),
        step("tool_execution", "started", "t", **call),
        step("tool_execution", "ended", "t", call_id="1", result="x"),
        answer("first", append=False),
    ]
    turn, pieces = heard(*again, status(TaskState.WORKING, recovery={"attempt": 1}), *again)
    assert turn.text == "first"
    assert [len(turn.tool_calls), len(turn.tool_results)] == [1, 1]
    assert turn.tool_results[0].round == 1
    assert pieces.count(Token("first")) == 2


@pytest.mark.parametrize(
    "data",
    [
        {"citations": [{"title": "A", "score": float("nan")}, "x", {"title": 1}, {}, None]},
        {"citations": 1, "other": {"title": "A"}},
        ["citations"],
    ],
    ids=["items", "number", "list"],
)
def test_only_citations_are_taken_for_citations(data: Any) -> None:
    turn, _ = heard(ArtifactUpdate("t", "context", Artifact("citations", [Part(data=data)])))
    expected = [stacks.Citation("A")] if isinstance(data, dict) and "other" not in data else []
    assert turn.citations == expected


def test_the_files_of_the_message_are_known_by_name() -> None:
    files = [Part(text="why?"), Part(raw="", filename="log")]
    message = Message("m", Role.USER, files)
    turn, _ = heard(Task("t", "c", TaskStatus(TaskState.SUBMITTED), history=[message]))
    assert turn.attached == {"log"}
