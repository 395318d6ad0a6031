"""How a stream of an answer is written, byte for byte."""

from __future__ import annotations

import pytest

from rest_compat.lightspeed.heard_turn import Refusal, Token
from rest_compat.lightspeed.query_events import Ending, JsonWriter, TextWriter
from rest_compat.lightspeed.references import ReferencedDocument
from rest_compat.lightspeed.tool_summaries import ToolCallSummary, ToolResultSummary
from rest_compat.problems import Problem

CALL = ToolCallSummary(id="1", name="look", args={"for": "fox"}, type="mcp_call")
RESULT = ToolResultSummary(id="1", status="success", content="ok", type="mcp_call", round=1)
PROBLEM = Problem(413, "Prompt is too long", "The prompt exceeds the maximum allowed length.")
NOTHING = Ending((), 0, 0, {})


def test_json_has_the_event_and_its_data_as_lcs_writes_them() -> None:
    write = JsonWriter()
    assert write.start("c") == 'data: {"event": "start", "data": {"conversation_id": "c"}}\n\n'
    assert write.piece(CALL) == (
        'data: {"event": "tool_call", "data": '
        '{"id": "1", "name": "look", "args": {"for": "fox"}, "type": "mcp_call"}}\n\n'
    )
    assert write.piece(RESULT) == (
        'data: {"event": "tool_result", "data": '
        '{"id": "1", "status": "success", "content": "ok", "type": "mcp_call", "round": 1}}\n\n'
    )
    assert write.piece(Token("Füch")) == (
        'data: {"event": "token", "data": {"id": 0, "token": ""}}\n\n'
        'data: {"event": "token", "data": {"id": 1, "token": "F\\u00fcch"}}\n\n'
    )
    assert write.piece(Token("se\n\n")) == (
        'data: {"event": "token", "data": {"id": 2, "token": "se\\n\\n"}}\n\n'
    )
    assert write.turn_complete("x") == (
        'data: {"event": "turn_complete", "data": {"id": 3, "token": "x"}}\n\n'
    )
    assert write.error(PROBLEM) == (
        'data: {"event": "error", "data": {"status_code": 413, "response": "Prompt is too long", '
        '"cause": "The prompt exceeds the maximum allowed length."}}\n\n'
    )


def test_the_end_has_the_quotas_beside_its_data() -> None:
    documents = [ReferencedDocument(doc_url="https://a.test/", doc_title="A", source="docs")]
    assert JsonWriter().end(Ending(documents, 1, 2, {"users": 3})) == (
        'data: {"event": "end", "data": {"referenced_documents": [{"doc_url": "https://a.test/", '
        '"doc_title": "A", "source": "docs"}], "truncated": null, "input_tokens": 1, '
        '"output_tokens": 2}, "available_quotas": {"users": 3}}\n\n'
    )


def test_a_refusal_is_the_first_token() -> None:
    assert JsonWriter().piece(Refusal("No.")) == (
        'data: {"event": "token", "data": {"id": 0, "token": "No."}}\n\n'
    )
    assert TextWriter().piece(Refusal("No.")) == "No."


def test_an_answer_without_words_is_complete_all_the_same() -> None:
    assert '"id": 0, "token": ""' in JsonWriter().turn_complete("")


def test_text_is_the_answer_after_the_event_that_names_the_conversation() -> None:
    write = TextWriter()
    texts = [
        write.start("c"),
        write.piece(CALL),
        write.piece(RESULT),
        write.piece(Token("Füch")),
        write.piece(Token("se")),
        write.turn_complete("Füchse"),
        write.end(NOTHING),
    ]
    assert "".join(texts) == (
        'data: {"event": "start", "data": {"conversation_id": "c"}}\n\n'
        "[Tool Call: look]\n[Tool Result]\nFüchse"
    )


def test_text_says_what_went_wrong_in_one_line() -> None:
    said = TextWriter().error(PROBLEM)
    assert said == (
        "Status: 413 - Prompt is too long - The prompt exceeds the maximum allowed length."
    )


@pytest.mark.parametrize(
    ("title", "url", "line"),
    [
        ("A", "https://a.test/", "A: https://a.test/"),
        ("A", None, "A"),
        (None, "https://a.test/", "https://a.test/"),
    ],
    ids=["both", "title", "url"],
)
def test_text_ends_with_the_documents(title: str | None, url: str | None, line: str) -> None:
    document = ReferencedDocument(doc_url=url, doc_title=title)
    ending = Ending([document, document], 1, 2, {"users": 3})
    assert TextWriter().end(ending) == f"\n\n---\n\n{line}\n{line}"
