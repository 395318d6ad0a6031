"""The operations of LCS, the statuses that the document gives each, and those that any may answer."""

from __future__ import annotations

from typing import NamedTuple

DOCUMENTED: dict[str, tuple[int, ...]] = {
    "GET /": (200, 401, 403),
    "GET /v1/info": (200, 401, 403, 503),
    "GET /v1/models": (200, 401, 403, 422, 500, 503),
    "GET /v1/tools": (200, 401, 403, 500, 503),
    "GET /v1/mcp-auth/client-options": (200, 401, 403, 500),
    "GET /v1/shields": (200, 401, 403, 500, 503),
    "GET /v1/providers": (200, 401, 403, 500, 503),
    "GET /v1/providers/{provider_id}": (200, 401, 403, 404, 422, 500, 503),
    "GET /v1/rags": (200, 401, 403, 500, 503),
    "GET /v1/rags/{rag_id}": (200, 401, 403, 404, 422, 500, 503),
    "POST /v1/query": (200, 401, 403, 404, 413, 422, 429, 500, 503),
    "POST /v1/streaming_query": (200, 401, 403, 404, 413, 422, 429, 500, 503),
    "GET /v1/config": (200, 401, 403, 500),
    "POST /v1/feedback": (200, 401, 403, 404, 422, 500),
    "GET /v1/feedback/status": (200,),
    "PUT /v1/feedback/status": (200, 401, 403, 422, 500),
    "GET /v1/conversations": (200, 401, 403, 500),
    "GET /v1/conversations/{conversation_id}": (200, 400, 401, 403, 404, 422, 500, 503),
    "DELETE /v1/conversations/{conversation_id}": (200, 400, 401, 403, 422, 500, 503),
    "PUT /v1/conversations/{conversation_id}": (200, 400, 401, 403, 404, 422, 500, 503),
    "GET /v2/conversations": (200, 401, 403, 500),
    "GET /v2/conversations/{conversation_id}": (200, 400, 401, 403, 404, 422, 500),
    "DELETE /v2/conversations/{conversation_id}": (200, 400, 401, 403, 422, 500),
    "PUT /v2/conversations/{conversation_id}": (200, 400, 401, 403, 404, 422, 500),
    "POST /v1/infer": (200, 401, 403, 413, 422, 429, 500, 503),
    "GET /readiness": (200, 401, 403, 503),
    "GET /liveness": (200, 401, 403),
    "POST /authorized": (200, 401, 403),
    "GET /metrics": (200, 401, 403, 500, 503),
    "GET /.well-known/agent-card.json": (200,),
    "GET /.well-known/agent.json": (200,),
    "GET /a2a": (200,),
    "POST /a2a": (200,),
    "GET /a2a/health": (200,),
}

TAKES_A_BODY = frozenset(
    {
        "POST /v1/query",
        "POST /v1/streaming_query",
        "POST /v1/feedback",
        "PUT /v1/feedback/status",
        "PUT /v1/conversations/{conversation_id}",
        "PUT /v2/conversations/{conversation_id}",
        "POST /v1/infer",
        "POST /a2a",
    }
)

OPEN = frozenset(
    {
        "GET /.well-known/agent-card.json",
        "GET /.well-known/agent.json",
        "GET /a2a",
        "GET /a2a/health",
        "GET /v1/feedback/status",
    }
)
"""For whoever asks: nobody has to say who they are."""

MALFORMED, TOO_LARGE, TOO_MANY, AWAY, NOT_THIS_WAY = 400, 413, 429, 503, 405


class Pair(NamedTuple):
    """An operation, and a status that it may answer."""

    operation: str
    status: int


def undocumented() -> set[Pair]:
    """Return what any operation may answer, though LCS's document says nothing of it."""
    always = {Pair(operation, NOT_THIS_WAY) for operation in DOCUMENTED}
    guarded = DOCUMENTED.keys() - OPEN
    known = {Pair(one, each) for one in guarded for each in (MALFORMED, 401, 403, TOO_MANY, AWAY)}
    bodies = {Pair(operation, TOO_LARGE) for operation in TAKES_A_BODY}
    return always | known | bodies


def pairs() -> set[Pair]:
    """Return all pairs there are."""
    documented = {Pair(one, each) for one, all_of in DOCUMENTED.items() for each in all_of}
    return documented | undocumented()
