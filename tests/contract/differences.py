"""Where this server says or does something else than LCS on purpose, with the reason.

``DOCUMENT`` is about the OpenAPI documents, ``RECORDED`` about what a real LCS was heard to answer. Each
place is a pattern in the manner of shells, where ``[[]`` is a bracket. What no entry covers fails a
test, and so does an entry that covers nothing.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Difference(NamedTuple):
    """Where something is otherwise, and why."""

    place: str
    reason: str

    def covers(self, place: str) -> bool:
        """Whether it is about a place."""
        return re.match(translate(self.place), place) is not None


DOCUMENT: tuple[Difference, ...] = (
    Difference(
        "schema *Response: .status_code*",
        "No error that LCS sends has a status_code beside its detail",
    ),
    Difference(
        'schema *Response: required: "status_code"',
        "No error that LCS sends has a status_code beside its detail",
    ),
    Difference(
        "schema UnprocessableEntityResponse: .detail: *",
        "LCS sends FastAPI's list of fields as well, of which its document says nothing there",
    ),
    Difference(
        "schema Action: enum: *",
        "Llama Stack's experimental API has actions of its own, which LCS does not know",
    ),
    Difference(
        "POST /v1/query: 413*",
        "The descriptions of LCS promise it for prompts that are too long; its document forgets it",
    ),
    Difference(
        "POST /v1/streaming_query: 413*",
        "The descriptions of LCS promise it for prompts that are too long; its document forgets it",
    ),
)

_CARD = "*: GET /.well-known/agent-card.json: $."
_COMPUTED = "The card is computed: it tells of what this server does, and how callers get in here"
_ABSENT = "What a card does not have is absent: some clients refuse null there"
_LIBRARY = "What runs the turns is set up otherwise here than in the recorded server"

RECORDED: tuple[Difference, ...] = (
    Difference(
        "*: GET /v1/tools: $.tools[[]].type",
        "LCS leaves the type empty; its document shows that it is 'tool'",
    ),
    Difference(
        "embedded: GET /v1/providers/openai: $.config.*",
        "The embedded stack shows nothing of how its model server is reached",
    ),
    Difference(
        "embedded: GET /v1/providers/openai: $.health.*",
        "The embedded stack has a provider of its own, which can tell how it is",
    ),
    Difference(
        "*: GET /v1/providers/nope: status",
        "LCS's document says 404, and so it should be; the recorded server fails",
    ),
    Difference(
        "*: GET /v1/rags/nope: status",
        "LCS's document says 404, and so it should be; the recorded server fails",
    ),
    Difference("*: GET /v1/config: $.configuration.llama_stack.*library_client*", _LIBRARY),
    Difference("llama stack: GET /v1/config: $.configuration.llama_stack.url", _LIBRARY),
    Difference(
        "*: DELETE /v1/conversations/*: $.response",
        "It was deleted by v2 before: here the two versions tell of the same conversations",
    ),
    Difference(
        "*: $.detail[[]].input",
        "What was sent is not repeated: it may be a secret, and ends in logs",
    ),
    Difference(
        "*: $.detail[[]].ctx",
        "It is always empty in LCS's answers, and quotes what was sent elsewhere",
    ),
    Difference(
        "*: B2 tool call (MCP), text/plain: text",
        "LCS looks for the name of the tool where it is not; here it is told",
    ),
    Difference(
        "*: E3 /v1/query LLM 500: $.detail.response",
        "The stream says what has failed, and so does the answer that is no stream",
    ),
    Difference(f"{_CARD}additionalInterfaces", _COMPUTED),
    Difference(f"{_CARD}supportedInterfaces", _COMPUTED),
    Difference(f"{_CARD}capabilities.extendedAgentCard", _COMPUTED),
    Difference(f"{_CARD}supportsAuthenticatedExtendedCard", _COMPUTED),
    Difference(f"{_CARD}security", _COMPUTED),
    Difference(f"{_CARD}securitySchemes", _COMPUTED),
    Difference(f"{_CARD}documentationUrl", "No address is told that nobody has configured"),
    Difference(f"{_CARD}capabilities.extensions", _ABSENT),
    Difference(f"{_CARD}iconUrl", _ABSENT),
    Difference(f"{_CARD}signatures", _ABSENT),
    Difference(f"{_CARD}skills[[]].security", _ABSENT),
)


def uncovered(places: Iterable[str], listed: Sequence[Difference]) -> list[str]:
    """Return the places that nothing in the list is about."""
    return [place for place in places if not any(each.covers(place) for each in listed)]


def unneeded(places: Iterable[str], listed: Sequence[Difference]) -> list[Difference]:
    """Return what of the list is about no place."""
    known = list(places)
    return [each for each in listed if not any(each.covers(place) for place in known)]
