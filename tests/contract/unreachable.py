"""What LCS's document says that operations may answer, and nothing can make them answer here."""

from __future__ import annotations

from tests.contract.operations import Pair

_ANY_TEXT = "Its only parameter is a text, and any text is one"
_NOTHING_BEHIND = "It tells what the process holds: there is nothing behind it that could fail"

UNREACHABLE: dict[Pair, str] = {
    Pair("GET /v1/models", 422): _ANY_TEXT,
    Pair("GET /v1/providers/{provider_id}", 422): _ANY_TEXT,
    Pair("GET /v1/rags/{rag_id}", 422): _ANY_TEXT,
    **{
        Pair(f"{method} /{version}/conversations/{{conversation_id}}", 422): _ANY_TEXT
        for method in ("GET", "DELETE")
        for version in ("v1", "v2")
    },
    Pair("GET /v1/config", 500): _NOTHING_BEHIND,
    Pair("GET /v1/mcp-auth/client-options", 500): _NOTHING_BEHIND,
    Pair("PUT /v1/feedback/status", 500): _NOTHING_BEHIND,
    Pair("GET /metrics", 500): _NOTHING_BEHIND,
}
