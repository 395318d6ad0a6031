"""What the chunks of the agents API's stream mean."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import (
    InvalidAgentResponse,
    ModelNotFound,
    StackError,
    StackTimeout,
    TurnFailed,
)
from agent.stacks import (
    ArtifactPart,
    Citation,
    Failed,
    FilePart,
    InputRequired,
    Rejected,
    StepEnded,
    StepStarted,
    TextDelta,
    TurnCompleted,
    TurnStarted,
)
from agent.stacks.agents_api_events import TurnReader
from agent.stacks.client import ConversationLost, ToolAccessRefused, ToolGroupUnknown
from tests.fakes.llama_stack import (
    TURN,
    answer,
    call,
    calling,
    ended,
    event,
    failure,
    over,
    question,
    said,
    started,
    text,
)

if TYPE_CHECKING:
    from agent.stacks import TurnEvent

WEATHER = call("c1", "get_weather", '{"city": "Oslo"}')


def read(*chunks: Any, client_tools: tuple[str, ...] = ("get_weather",)) -> list[TurnEvent]:
    """Read the chunks of a turn of an agent that may take four steps."""
    reader = TurnReader(client_tools, 4)
    return [each for chunk in chunks for each in reader.read(chunk)]


def test_a_turn_is_read_from_its_first_delta_to_its_end() -> None:
    """The id of the turn comes with the first step that ends: the server says it no earlier."""
    assert read(*answer("Hello ", "there")) == [
        StepStarted("inference"),
        TextDelta("Hello "),
        TextDelta("there"),
        TurnStarted(TURN),
        StepEnded("inference", detail={"stop_reason": "end_of_turn"}),
        TurnCompleted("end_of_turn", "Hello there"),
    ]


def test_a_reader_has_ended_only_after_the_last_event() -> None:
    """What breaks off before is no answer."""
    reader = TurnReader((), 4)
    states = []
    for chunk in answer("Hello"):
        list(reader.read(chunk))
        states.append(reader.ended)
    assert states == [False, False, False, True]


def test_a_turn_that_began_another_way_is_still_announced() -> None:
    """The last event tells the id when no step did."""
    assert read(over(said("Hi"))) == [TurnStarted(TURN), TurnCompleted("end_of_turn", "Hi")]


def test_an_answer_cut_off_at_the_token_limit_is_complete_with_that_reason() -> None:
    """It is no failure: the text is there."""
    assert read(over(said("cut", "out_of_tokens")))[-1] == TurnCompleted("out_of_tokens", "cut")


def test_content_in_items_becomes_text_and_files() -> None:
    """Text items are joined, images become an artifact."""
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
    jpeg = base64.b64encode(b"\xff\xd8\xff").decode()
    content = [
        {"type": "text", "text": "See "},
        {"type": "image", "image": {"data": png}},
        {"type": "image", "image": {"data": jpeg}},
        {"type": "image", "image": {"url": {"uri": "https://example.com/a.png"}}},
        "this.",
    ]
    assert read(over(said(content)))[1:] == [
        ArtifactPart(
            (
                FilePart(None, "image/png", data=b"\x89PNG\r\n\x1a\n"),
                FilePart(None, "image/jpeg", data=b"\xff\xd8\xff"),
                FilePart(None, "image/png", uri="https://example.com/a.png"),
            ),
            f"{TURN}-files",
        ),
        TurnCompleted("end_of_turn", "See this."),
    ]


def test_attachments_become_artifacts() -> None:
    """Each one is an artifact of its own; a path on the server's disk is of no use to anybody."""
    attachments = [
        {"content": "a,b", "mime_type": "text/csv"},
        {"content": {"uri": "https://example.com/r.pdf"}, "mime_type": "application/pdf"},
        {"content": {"uri": "file:///tmp/secret"}, "mime_type": "text/plain"},
    ]
    assert read(over(said("Done"), output_attachments=attachments))[1:3] == [
        ArtifactPart((FilePart(None, "text/csv", data=b"a,b"),), f"{TURN}-files-1"),
        ArtifactPart(
            (FilePart(None, "application/pdf", uri="https://example.com/r.pdf"),),
            f"{TURN}-files-2",
        ),
    ]


def test_an_image_that_is_no_base64_is_not_understood() -> None:
    """Nothing is guessed."""
    with pytest.raises(InvalidAgentResponse):
        read(over(said([{"type": "image", "image": {"data": "!"}}])))


def test_a_server_tool_is_shown_with_its_arguments_and_its_result() -> None:
    """The fragments in which the model writes the call are neither text nor steps."""
    add = call("c1", "add", '{"a": 1}')
    response = {"call_id": "c1", "tool_name": "add", "content": [{"type": "text", "text": "42"}]}
    assert read(
        started("inference"),
        calling("add(", "inference"),
        calling(add, "inference", "succeeded"),
        ended("inference", model_response=said("", "end_of_message", [add])),
        started("tool_execution"),
        calling(add),
        ended("tool_execution", tool_calls=[add], tool_responses=[response]),
    ) == [
        StepStarted("inference"),
        TurnStarted(TURN),
        StepEnded("inference", detail={"stop_reason": "end_of_message"}),
        StepStarted(
            "tool_execution", "add", {"call_id": "c1", "arguments": {"a": 1}, "type": "mcp_call"}
        ),
        StepEnded("tool_execution", "add", {"call_id": "c1", "result": "42"}),
    ]


def test_a_resumed_turn_begins_with_the_end_of_a_step_that_never_started() -> None:
    """Its start is made up; with answers to several calls, one for each."""
    rome = call("c2", "get_weather", '{"city": "Rome"}')
    responses = [
        {"call_id": "c1", "tool_name": "get_weather", "content": "rain"},
        {"call_id": "c2", "tool_name": "get_weather", "content": "sun"},
        {"call_id": "c3", "tool_name": "get_time", "content": "noon"},
    ]
    events = read(ended("tool_execution", tool_calls=[WEATHER, rome], tool_responses=responses))
    assert events == [
        TurnStarted(TURN),
        StepStarted(
            "tool_execution",
            "get_weather",
            {"call_id": "c1", "arguments": {"city": "Oslo"}, "type": "function_call"},
        ),
        StepEnded("tool_execution", "get_weather", {"call_id": "c1", "result": "rain"}),
        StepStarted(
            "tool_execution",
            "get_weather",
            {"call_id": "c2", "arguments": {"city": "Rome"}, "type": "function_call"},
        ),
        StepEnded("tool_execution", "get_weather", {"call_id": "c2", "result": "sun"}),
        StepStarted(
            "tool_execution", "get_time", {"call_id": "c3", "arguments": None, "type": "mcp_call"}
        ),
        StepEnded("tool_execution", "get_time", {"call_id": "c3", "result": "noon"}),
    ]


def test_what_a_tool_is_given_and_returns_is_shown_up_to_a_bound() -> None:
    """A step is a note for the reader, not a copy of a file."""
    add = call("c1", "add", '{"a": "' + "x" * 10_000 + '"}')
    response = {"call_id": "c1", "tool_name": "add", "content": "y" * 10_000}
    _, start, end = read(ended("tool_execution", tool_calls=[add], tool_responses=[response]))
    assert isinstance(start, StepStarted)
    assert isinstance(end, StepEnded)
    assert len(start.detail["arguments"]) == 4097
    assert end.detail["result"] == "y" * 4096 + "…"


def test_what_a_search_found_becomes_citations() -> None:
    """The name of a file stands only in the text for the model."""
    response = {
        "call_id": "c1",
        "tool_name": "knowledge_search",
        "content": [
            "Content: Foxes.\nMetadata: {'document_id': 'file-1', 'filename': 'fox.txt'}\n"
        ],
        "metadata": {
            "document_ids": ["file-1", "file-2"],
            "chunks": ["Foxes.", "Owls."],
            "scores": [0.75],
        },
    }
    assert read(ended("tool_execution", tool_responses=[response]))[3:] == [
        Citation("fox.txt", text="Foxes.", document_id="file-1", score=0.75),
        Citation("file-2", text="Owls.", document_id="file-2"),
    ]


def test_other_kinds_of_steps_are_shown_by_their_kind() -> None:
    """Older servers retrieve from memory in a step of its own."""
    assert read(started("memory_retrieval"), ended("memory_retrieval")) == [
        StepStarted("memory_retrieval"),
        TurnStarted(TURN),
        StepEnded("memory_retrieval"),
    ]


def test_content_that_is_neither_text_nor_file_has_none() -> None:
    """Whatever it is, it cannot be shown."""
    assert read(over(said([1, {"type": "audio"}])))[-1] == TurnCompleted("end_of_turn", None)
    assert read(over(said(None)))[-1] == TurnCompleted("end_of_turn", None)


def test_client_tool_calls_ask_for_input() -> None:
    """The arguments are JSON where the model wrote JSON, else its text."""
    broken = call("c2", "get_weather", '{"city": ')
    assert read(*question(WEATHER, broken))[-1] == InputRequired(
        "The agent waits for the result of: get_weather, get_weather.",
        {
            "type": "tool_calls",
            "tool_calls": [
                {"call_id": "c1", "tool_name": "get_weather", "arguments": {"city": "Oslo"}},
                {"call_id": "c2", "tool_name": "get_weather", "arguments": '{"city": '},
            ],
        },
    )


def test_waiting_for_a_tool_of_the_server_means_that_the_steps_are_used_up() -> None:
    """The server says ``turn_awaiting_input`` then as well; nobody can give that input."""
    events = read(*question(call("c1", "add")))
    assert events[-1] == Failed("The agent stopped after 4 steps without an answer.")


def test_a_call_cut_off_at_the_token_limit_asks_for_nothing() -> None:
    """Its arguments are not complete."""
    message = said("", "out_of_tokens", [WEATHER])
    assert read(over(message))[-1] == TurnCompleted("out_of_tokens", None)


def shield(touchpoint: str, level: str) -> list[Any]:
    """Return the chunks of a shield that objects."""
    violation = {
        "violation_level": level,
        "user_message": "I can't answer that.",
        "metadata": {"violation_type": "S9"},
    }
    return [
        started("shield_call", touchpoint=touchpoint),
        ended("shield_call", violation=violation),
    ]


def test_an_input_shield_rejects_the_message() -> None:
    """The turn ends with the refusal as its answer: it is none."""
    refusal = over(said("I can't answer that."))
    assert read(*shield("user-input", "error"), refusal) == [
        StepStarted("shield_call", detail={"touchpoint": "user-input"}),
        TurnStarted(TURN),
        StepEnded("shield_call", detail={"violation": {"level": "error", "type": "S9"}}),
        Rejected("I can't answer that."),
    ]


def test_an_output_shield_rejects_what_was_already_streamed() -> None:
    """The text cannot be taken back; the end says what is to be thought of it."""
    chunks = answer("Bad ", "advice")[:-1]
    refusal = over(said("I can't answer that."))
    events = read(*chunks, *shield("assistant-output", "error"), refusal)
    assert TextDelta("Bad ") in events
    assert events[-1] == Rejected("I can't answer that.")


def test_a_shield_that_passes_or_only_warns_rejects_nothing() -> None:
    """Only the level ``error`` stops a turn."""
    passed = ended("shield_call", violation=None)
    events = read(passed, *shield("user-input", "warn"), over(said("Hi")))
    assert StepEnded("shield_call", detail={"violation": None}) in events
    assert events[-1] == TurnCompleted("end_of_turn", "Hi")


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("404: Model 'no/model' not found. Use 'client.models.list()' ...", ModelNotFound),
        ("400: Invalid value: Session 'x' not found or access denied.", ConversationLost),
        ("400: Invalid value: Could not find agent info for x", ConversationLost),
        ("404: Tool Group 'mcp::x' not found. Use ...", ToolGroupUnknown),
        ("400: Invalid value: Shield `x` not served by provider: `guard`.", TurnFailed),
        ("400: Invalid value: Failed to parse arguments for tool call: {", TurnFailed),
        ("400: Error code: 400 - upstream", TurnFailed),
        ("429: Error code: 429 - upstream", TurnFailed),
        ("401: Authentication required: key sk-123", ToolAccessRefused),
        ("502: upstream", TurnFailed),
        ("504: Operation timed out: ", StackTimeout),
        ("500: Internal server error: An unexpected error occurred.", TurnFailed),
        ("no status at all", TurnFailed),
    ],
)
def test_an_error_chunk_is_raised_in_our_words(message: str, error: type[StackError]) -> None:
    """What the server says is the cause, for the log, and no part of the message."""
    with pytest.raises(error) as raised:
        read(failure(message))
    assert type(raised.value) is error
    assert str(raised.value.__cause__) == message
    assert not set(message.split()) & {"sk-123", "upstream"} & set(raised.value.message.split())


def test_a_lost_session_is_told_as_such() -> None:
    """The caller can do something about it: begin a new conversation."""
    with pytest.raises(TurnFailed) as raised:
        read(failure("400: Invalid value: Session 'x' not found or access denied."))
    assert raised.value.message == "The conversation is no longer known to Llama Stack."


def test_an_error_ends_a_turn_that_had_begun() -> None:
    """The deltas before it were heard."""
    reader = TurnReader((), 4)
    assert list(reader.read(text("one "))) == [TextDelta("one ")]
    with pytest.raises(TurnFailed):
        list(reader.read(failure("500: Internal server error")))
    assert not reader.ended


@pytest.mark.parametrize(
    "chunk",
    [
        event("turn_start", turn_id="t"),
        event("step_progress", step_type="inference", step_id="s"),
        event("step_progress", step_type="x", delta={"type": "image", "image": "x"}),
        event("something_new", step_type="x"),
        {"metrics": []},
    ],
)
def test_what_later_servers_may_add_is_passed_over(chunk: Any) -> None:
    """Unknown events, deltas and fields are no errors."""
    assert read(chunk) == []


@pytest.mark.parametrize("chunk", [None, [], "text", {"event": {}}, {"event": {"payload": {}}}])
def test_what_is_no_chunk_is_not_understood(chunk: Any) -> None:
    """It is an error of ours, not an AttributeError."""
    with pytest.raises(InvalidAgentResponse):
        read(chunk)


def test_a_turn_that_ends_without_itself_failed() -> None:
    """There is nothing to tell the caller."""
    with pytest.raises(TurnFailed):
        read(event("turn_complete"))
