"""How ``/v1/streaming_query`` writes an answer: as JSON in server-sent events, or as text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from rest_compat.lightspeed.heard_turn import Refusal, Token
from rest_compat.lightspeed.tool_summaries import ToolCallSummary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rest_compat.lightspeed.heard_turn import Piece
    from rest_compat.lightspeed.references import ReferencedDocument
    from rest_compat.problems import Problem


class Ending(NamedTuple):
    """What is told at the end: what the answer refers to and has cost, and what is left."""

    documents: Sequence[ReferencedDocument]
    input_tokens: int
    output_tokens: int
    quotas: Mapping[str, int]


class Writer(Protocol):
    """Writes the parts of one answer, in their order; what is not told is empty."""

    content_type: str

    def start(self, conversation_id: str) -> str:
        """Write what comes first."""

    def piece(self, piece: Piece) -> str:
        """Write what happens."""

    def turn_complete(self, text: str) -> str:
        """Write that the answer is over; ``text`` is all of it."""

    def error(self, problem: Problem) -> str:
        """Write what went wrong."""

    def end(self, ending: Ending) -> str:
        """Write what comes last."""


def _event(name: str, data: dict[str, Any], **more: Any) -> str:
    return f"data: {json.dumps({'event': name, 'data': data, **more})}\n\n"


class JsonWriter:
    """Every event has its name in the JSON; tokens and the whole text are numbered, from 0.

    An empty token goes before the first of an answer, as LCS has it.
    """

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self) -> None:
        """Nothing is written."""
        self._written = 0

    def start(self, conversation_id: str) -> str:
        """See ``Writer``."""
        return _event("start", {"conversation_id": conversation_id})

    def piece(self, piece: Piece) -> str:
        """See ``Writer``."""
        if isinstance(piece, Refusal):
            return self._numbered("token", piece.text)
        if isinstance(piece, Token):
            first = "" if self._written else self._numbered("token", "")
            return first + self._numbered("token", piece.text)
        name = "tool_call" if isinstance(piece, ToolCallSummary) else "tool_result"
        return _event(name, piece.model_dump())

    def turn_complete(self, text: str) -> str:
        """See ``Writer``."""
        return self._numbered("turn_complete", text)

    def error(self, problem: Problem) -> str:
        """See ``Writer``."""
        said = {"response": problem.response, "cause": problem.cause}
        return _event("error", {"status_code": problem.status, **said})

    def end(self, ending: Ending) -> str:
        """See ``Writer``."""
        data = {
            "referenced_documents": [each.model_dump() for each in ending.documents],
            "truncated": None,
            "input_tokens": ending.input_tokens,
            "output_tokens": ending.output_tokens,
        }
        return _event("end", data, available_quotas=dict(ending.quotas))

    def _numbered(self, name: str, text: str) -> str:
        number, self._written = self._written, self._written + 1
        return _event(name, {"id": number, "token": text})


class TextWriter:
    """The answer as it is, after an event that names the conversation."""

    content_type = "text/plain; charset=utf-8"

    def start(self, conversation_id: str) -> str:
        """See ``Writer``."""
        return _event("start", {"conversation_id": conversation_id})

    def piece(self, piece: Piece) -> str:
        """See ``Writer``."""
        if isinstance(piece, Token | Refusal):
            return piece.text
        if isinstance(piece, ToolCallSummary):
            return f"[Tool Call: {piece.name}]\n"
        return "[Tool Result]\n"

    def turn_complete(self, _text: str) -> str:
        """All of it is written already."""
        return ""

    def error(self, problem: Problem) -> str:
        """See ``Writer``."""
        return f"Status: {problem.status} - {problem.response} - {problem.cause}"

    def end(self, ending: Ending) -> str:
        """Name the documents, if there are any."""
        lines = [
            ": ".join(each for each in (document.doc_title, document.doc_url) if each)
            for document in ending.documents
        ]
        return "\n\n---\n\n" + "\n".join(lines) if lines else ""
