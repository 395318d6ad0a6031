"""What the events of a Responses stream mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import InvalidAgentResponse, ModelNotFound, StackError, TurnFailed
from agent.stacks.client import ConversationLost
from agent.stacks.responses_api_events import Translation
from agent.stacks.turn import (
    Citation,
    Failed,
    InputRequired,
    Rejected,
    StepEnded,
    StepStarted,
    TextDelta,
    TurnCompleted,
    TurnStarted,
    Usage,
)
from tests.fakes.responses import (
    RESPONSE,
    added,
    answer,
    approval,
    call,
    created,
    delta,
    done,
    final,
    message,
    refusal,
)

if TYPE_CHECKING:
    from agent.stacks.responses_api_wire import OutputItem
    from agent.stacks.turn import TurnEvent

LISTING = {"type": "mcp_list_tools", "id": "l1", "server_label": "sums", "tools": []}
SUM = {"type": "mcp_call", "id": "m1", "name": "add", "server_label": "sums", "arguments": "{}"}
SEARCH: dict[str, Any] = {"type": "file_search_call", "id": "f1", "queries": [], "results": None}


def translate(*wire: Any) -> list[TurnEvent]:
    """Translate a whole stream."""
    translation = Translation()
    events = [event for each in wire for event in translation.read(each)]
    return [*events, *translation.end()]


def failure(*wire: Any) -> StackError:
    """Translate a stream that ends with an error."""
    with pytest.raises(StackError) as caught:
        translate(*wire)
    return caught.value


def test_an_answer_is_its_deltas_its_usage_and_its_whole_text() -> None:
    """The id of the response is the id of the turn."""
    assert translate(*answer("Good ", "", "day")) == [
        TurnStarted(RESPONSE),
        TextDelta("Good "),
        TextDelta("day"),
        Usage(7, 3),
        TurnCompleted("end_of_turn", "Good day"),
    ]


def test_the_model_that_answers_is_told_with_the_turn() -> None:
    """As it was asked for, with its provider."""
    translation = Translation(model="vllm/small")

    assert list(translation.read(created())) == [TurnStarted(RESPONSE, "vllm/small")]


def test_a_stream_that_begins_with_its_end_still_starts_the_turn() -> None:
    """A gateway may leave out what it thinks nobody needs."""
    assert translate(final("completed", message("hi"), usage=None)) == [
        TurnStarted(RESPONSE),
        TurnCompleted("end_of_turn", "hi"),
    ]


def test_events_of_an_unknown_type_are_ignored() -> None:
    """Servers add some with every version."""
    unknown = {"type": "response.dreaming", "item": 1, "response": 2, "delta": 3}

    assert translate(created(), unknown, {}, final("completed", message("hi")))[-1] == (
        TurnCompleted("end_of_turn", "hi")
    )


def test_several_messages_are_one_answer() -> None:
    """As their deltas are."""
    end = final("completed", message("one "), message("two"))

    assert translate(created(), end)[-1] == TurnCompleted("end_of_turn", "one two")


def test_a_response_without_a_message_is_an_empty_answer() -> None:
    """So a denied tool call ends on all servers."""
    assert translate(created(), final("completed", LISTING))[-1] == TurnCompleted("end_of_turn", "")


def test_deltas_stand_when_the_response_holds_no_message() -> None:
    """The text of the end wins over the deltas, so there must be none."""
    events = translate(created(), delta("spoken"), final("completed"))

    assert events[-1] == TurnCompleted("end_of_turn", None)


def test_a_refusal_item_rejects() -> None:
    """A shield objected before the model was asked."""
    events = translate(created(), final("completed", refusal("I can't.")))

    assert events[-1] == Rejected("I can't.")


def test_refusal_deltas_reject() -> None:
    """The model itself refused; nothing of it is an answer."""
    pieces = [{"type": "response.refusal.delta", "delta": each} for each in ("I ", "won't.")]

    events = translate(created(), *pieces, final("completed", message("")))

    assert events[1:] == [Usage(7, 3), Rejected("I won't.")]


def test_an_mcp_call_is_a_step_with_arguments_and_result() -> None:
    """Llama Stack gives the arguments before it announces the call."""
    events = translate(
        created(),
        {"type": "response.mcp_call.arguments.done", "item_id": "m1", "arguments": '{"a": 2}'},
        added(SUM | {"arguments": ""}),
        {"type": "response.mcp_call.in_progress", "item_id": "m1"},
        done(SUM | {"arguments": '{"a": 2}', "output": "42"}),
        final("completed", SUM | {"arguments": '{"a": 2}', "output": "42"}, message("42")),
    )

    asked = {"server_label": "sums", "type": "mcp_call", "arguments": {"a": 2}}
    assert events[1:3] == [
        StepStarted("tool_execution", "add", {"call_id": "m1", **asked}),
        StepEnded("tool_execution", "add", {"call_id": "m1", "result": "42"}),
    ]
    assert len(events) == 5


@pytest.mark.parametrize("error", ["no such sum", {"code": 1, "message": "no such sum"}])
def test_a_failed_mcp_call_is_a_step_with_an_error(error: Any) -> None:
    """The model is told too, and may still answer."""
    events = translate(created(), done(SUM | {"error": error}), final("completed"))

    detail = {"call_id": "m1", "result": "no such sum", "failed": True}
    assert isinstance(events[1], StepStarted)
    assert events[2] == StepEnded("tool_execution", "add", detail)


def test_the_tools_of_a_server_are_listed_in_a_step() -> None:
    """As the model sees them; a schema that nobody would read is left out."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    add = {"name": "add", "description": "Add.", "input_schema": schema, "annotations": None}
    huge = {"name": "subtract", "input_schema": {"title": "x" * 5000}}
    listed = LISTING | {"tools": [add, huge]}

    events = translate(created(), added(LISTING), done(listed), final("completed", listed))

    tools = [
        {"name": "add", "description": "Add.", "input_schema": schema},
        {"name": "subtract", "description": "", "input_schema": None},
    ]
    assert events[1:3] == [
        StepStarted("tool_listing", "sums", {"call_id": "l1", "server_label": "sums"}),
        StepEnded("tool_listing", "sums", {"call_id": "l1", "tools": tools}),
    ]


@pytest.mark.parametrize(
    ("item", "kind", "name"),
    [
        (
            {"type": "web_search_call", "id": "w1", "status": "completed"},
            "tool_execution",
            "web_search",
        ),
        (SEARCH, "memory_retrieval", "file_search"),
        ({"type": "reasoning", "id": "r1", "summary": []}, "inference", "reasoning"),
    ],
)
def test_an_item_that_only_the_end_tells_of_is_a_step(item: Any, kind: str, name: str) -> None:
    """Llama Stack streams no items for reasoning."""
    events = translate(created(), final("completed", item, message("hi")))

    steps = [each for each in events if isinstance(each, StepStarted | StepEnded)]
    assert [(type(each), each.kind, each.name) for each in steps] == [
        (StepStarted, kind, name),
        (StepEnded, kind, name),
    ]


def test_reasoning_is_told_by_its_summary() -> None:
    """Which is what its maker meant to be read."""
    item = {
        "type": "reasoning",
        "id": "r1",
        "summary": [{"type": "summary_text", "text": "Short."}],
        "content": [{"type": "reasoning_text", "text": "Long."}],
    }

    events = translate(created(), done(item), final("completed"))

    assert events[2] == StepEnded("inference", "reasoning", {"call_id": "r1", "text": "Short."})


def test_what_a_file_search_finds_is_cited_once() -> None:
    """An annotation of the answer names the file again, another one a page of the web."""
    found = {
        "file_id": "file-1",
        "filename": "file-1",
        "score": 0.75,
        "text": "It boils.",
        "attributes": {"filename": "potions.txt", "docs_url": "https://docs.example/potions"},
    }
    plain = {"file_id": "file-2", "filename": "plain.txt", "text": "", "attributes": None}
    again = {"type": "file_citation", "file_id": "file-2", "filename": "plain.txt", "index": 1}
    page = {"type": "url_citation", "url": "https://example.org", "title": "A page"}
    queries = ["boiling", '{"query": "points"}', '{"x": 1}']
    search = SEARCH | {"queries": queries, "results": [found, plain]}
    text = message("It does.", again, page)

    events = translate(
        created(), added(SEARCH), done(search), done(text), final("completed", search, text)
    )

    asked = {
        "type": "file_search_call",
        "arguments": {"queries": ["boiling", "points", '{"x": 1}']},
    }
    assert events[1] == StepStarted("memory_retrieval", "file_search", {"call_id": "f1", **asked})
    ended = events[2]
    assert isinstance(ended, StepEnded)
    assert json.loads(ended.detail.pop("result"))["results"][0] == {
        "title": "potions.txt",
        "uri": "https://docs.example/potions",
        "text": "It boils.",
        "document_id": "file-1",
        "score": 0.75,
    }
    assert ended == StepEnded("memory_retrieval", "file_search", {"call_id": "f1"})
    assert events[3:-2] == [
        Citation("potions.txt", "https://docs.example/potions", "It boils.", "file-1", 0.75),
        Citation("plain.txt", None, "", "file-2", None),
        Citation("A page", "https://example.org", None, None, None),
    ]


def test_an_annotation_may_come_before_the_answer_is_whole() -> None:
    """As OpenAI sends them."""
    page = {"type": "url_citation", "url": "https://example.org", "title": "A page"}
    event = {"type": "response.output_text.annotation.added", "annotation": page}

    assert translate(created(), event, final("completed"))[1] == Citation(
        "A page", "https://example.org"
    )


def test_what_is_shown_of_a_step_is_bounded() -> None:
    """A tool may answer with a book."""
    long = done(SUM | {"output": "x" * 100_000, "arguments": "[" + "1," * 50_000 + "1]"})

    started, ended = translate(created(), long, final("completed"))[1:3]

    assert isinstance(started, StepStarted)
    assert isinstance(ended, StepEnded)
    assert len(started.detail["arguments"]) == len(ended.detail["result"]) == 4001


def test_citations_are_bounded() -> None:
    """A hundred are enough for anybody."""
    results = [{"file_id": f"file-{number}", "text": "x"} for number in range(500)]
    search = SEARCH | {"results": results}

    events = translate(created(), done(search), final("completed"))

    assert sum(isinstance(each, Citation) for each in events) == 100


def test_a_function_call_asks_for_its_result() -> None:
    """Arguments that are JSON are given as what they mean."""
    events = translate(
        created(),
        final("completed", call("weather", '{"city": "Oslo"}'), call("clock", "{", "call_2")),
    )

    assert events[-1] == InputRequired(
        "The agent waits for the result of: weather, clock.",
        {
            "type": "tool_calls",
            "tool_calls": [
                {"call_id": "call_1", "tool_name": "weather", "arguments": {"city": "Oslo"}},
                {"call_id": "call_2", "tool_name": "clock", "arguments": "{"},
            ],
        },
    )


def test_an_approval_request_asks_for_approval() -> None:
    """The id of the request is what the answer refers to."""
    asked = approval("add", '{"a": 2}')

    events = translate(created(), added(asked), done(asked), final("completed", asked))

    request = {"call_id": "approval_1", "tool_name": "add", "arguments": {"a": 2}}
    assert events[-1] == InputRequired(
        "The agent waits for approval to call: add.",
        {"type": "approvals", "approvals": [request | {"server_label": "sums"}]},
    )


def test_calls_and_approvals_are_asked_for_together() -> None:
    """And in the model's words when it has some."""
    end = final("completed", message("I need you."), call("clock", "{}"), approval("add", "{}"))

    asked = translate(created(), end)[-1]

    assert isinstance(asked, InputRequired)
    assert asked.text == "I need you."
    assert asked.data.keys() == {"type", "tool_calls", "approvals"}


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("length", TurnCompleted("out_of_tokens", "half an ans")),
        ("max_output_tokens", TurnCompleted("out_of_tokens", "half an ans")),
        (None, TurnCompleted("out_of_tokens", "half an ans")),
        ("max_iterations_exceeded", TurnCompleted("max_infer_iters", "half an ans")),
    ],
)
def test_half_an_answer_says_why_it_ends(reason: str | None, end: TurnCompleted) -> None:
    """0.3.5 gives no reason, and only tokens cut an answer off."""
    details = {"reason": reason} if reason else None
    stop = final("incomplete", message("half an ans"), incomplete_details=details)

    assert translate(created(), stop)[-1] == end


@pytest.mark.parametrize(
    ("reason", "limit"),
    [("max_output_tokens", "tokens"), ("max_iterations_exceeded", "steps"), (None, "steps")],
)
def test_no_answer_within_the_limits_is_a_failure(reason: str | None, limit: str) -> None:
    """All recorded servers end a loop of tool calls without any text."""
    stop = final("incomplete", SUM, incomplete_details={"reason": reason} if reason else None)

    assert translate(created(), stop)[-1] == Failed(
        f"The agent stopped at its limit of {limit} without an answer."
    )


def only_deletes(item: OutputItem) -> bool:
    return item.name == "delete"


def test_an_approval_that_nobody_has_to_give_is_not_asked_for() -> None:
    """The stack gives it, and the turn goes on."""
    translation = Translation(only_deletes)
    wire = [created(), final("completed", message("Let me see."), approval("add", "{}"))]

    events = [event for each in wire for event in translation.read(each)]

    assert [*events, *translation.end()] == [TurnStarted(RESPONSE), Usage(7, 3)]
    assert translation.to_approve is not None
    assert translation.to_approve.id == RESPONSE


def test_an_approval_that_somebody_has_to_give_is_asked_for_alone() -> None:
    """The others are given along with the answer."""
    translation = Translation(only_deletes)
    both = (approval("add", "{}"), approval("delete", "{}", "approval_2"))

    events = list(translation.read(final("completed", *both)))

    events += translation.end()
    assert isinstance(question := events[-1], InputRequired)
    assert [call["call_id"] for call in question.data["approvals"]] == ["approval_2"]
    assert translation.to_approve is None


@pytest.mark.parametrize(
    ("kinds", "at_tool_server"),
    [
        (["response.mcp_list_tools.in_progress"], True),
        (["response.mcp_call.in_progress"], True),
        (["response.mcp_call.in_progress", "response.mcp_call.completed"], False),
        ([], False),
    ],
)
def test_an_error_at_an_mcp_server_can_be_told_from_others(
    kinds: list[str], *, at_tool_server: bool
) -> None:
    """By what came last before it; nothing in the error itself says so."""
    translation = Translation()
    for kind in kinds:
        list(translation.read({"type": kind}))
    with pytest.raises(TurnFailed):
        list(translation.read({"error": {"message": "Internal server error", "code": "500"}}))

    assert translation.at_tool_server is at_tool_server


NO_MODEL = "Model 'no/such' not found. Use 'client.models.list()' to list available Models."
NO_CONVERSATION = "Conversation 'conv_0' not found."


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (final("failed", error={"code": "internal_error", "message": NO_MODEL}), ModelNotFound),
        ({"error": {"message": NO_MODEL, "code": "404"}}, ModelNotFound),
        ({"type": "error", "code": "404", "message": NO_MODEL}, ModelNotFound),
        ({"error": {"message": f"400: Invalid value: {NO_CONVERSATION}"}}, ConversationLost),
        ({"error": {"message": NO_CONVERSATION, "code": "404"}}, ConversationLost),
        ({"type": "error", "code": "404", "message": NO_CONVERSATION}, ConversationLost),
        (final("failed", error={"code": "server_error", "message": "secret"}), TurnFailed),
        (final("failed", error={"code": "invalid_prompt", "message": "secret"}), TurnFailed),
        (final("failed", error=None), TurnFailed),
        ({"error": "secret"}, TurnFailed),
        ({"error": {"message": "500: secret"}}, TurnFailed),
        ({"error": {"message": "503: secret"}}, TurnFailed),
        ({"type": "error", "code": None, "message": "secret"}, TurnFailed),
    ],
)
def test_all_ways_to_report_an_error_are_understood(event: Any, error: type[StackError]) -> None:
    """What the server says is for the log and never for the caller."""
    found = failure(created(), event)

    assert type(found) is error
    assert "secret" not in found.message
    assert "no/such" not in found.message


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("No shield found with identifier 'x'", "shield"),
        ("Unsupported content type: <class 'list'>", "shield"),
        ("502: Failed to connect to MCP server at http://x/sse: refused", "MCP server"),
    ],
)
def test_trouble_with_shields_and_tools_is_told_as_such(said: str, names: str) -> None:
    """The stack itself can be reached."""
    found = failure(created(), {"error": {"message": said, "code": "400"}})

    assert type(found) is TurnFailed
    assert names in found.message
    assert said in str(found.__cause__)


def test_text_that_was_heard_before_a_failure_does_not_make_it_an_answer() -> None:
    """The model's server broke off."""
    end = final("failed", error={"code": "server_error", "message": "An error"})

    assert type(failure(created(), delta("one "), end)) is TurnFailed


def test_a_stream_without_an_end_was_broken_off() -> None:
    """Even when all of the text may have come."""
    found = failure(*answer("Good ", "day")[:-1])

    assert (type(found), found.message) == (TurnFailed, "The stack broke off the answer.")


@pytest.mark.parametrize(
    "event",
    [
        "text",
        ["list"],
        {"type": "response.created"},
        {"type": "response.completed", "response": {"id": 1}},
        {"type": "response.completed", "response": {"id": RESPONSE, "output": [{}]}},
        {"type": "response.output_text.delta", "delta": None},
        {"type": "response.output_item.done", "item": "item"},
    ],
)
def test_an_event_of_the_wrong_shape_is_an_invalid_answer(event: Any) -> None:
    """Whatever the server is, it is no Llama Stack."""
    assert type(failure(event)) is InvalidAgentResponse
