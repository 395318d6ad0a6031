"""Requests that are well-formed, and what is read of the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from tests.contract.case import Server

UNKNOWN = "123e4567-e89b-12d3-a456-426614174000"
"""A conversation that is nobody's."""

IDS = {"conversation_id": UNKNOWN, "provider_id": "nope", "rag_id": "nope"}

BODIES: dict[str, Any] = {
    "POST /v1/query": {"query": "What does the fox do?"},
    "POST /v1/streaming_query": {"query": "What does the fox do?"},
    "POST /v1/feedback": {
        "conversation_id": UNKNOWN,
        "user_question": "q",
        "llm_response": "r",
        "sentiment": 1,
    },
    "PUT /v1/feedback/status": {"status": True},
    "PUT /v1/conversations/{conversation_id}": {"topic_summary": "foxes"},
    "PUT /v2/conversations/{conversation_id}": {"topic_summary": "foxes"},
    "POST /v1/infer": {"question": "What does the fox do?"},
    "POST /a2a": {"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}},
}


async def asking(
    server: Server,
    operation: str,
    json: Any = None,
    headers: dict[str, str] | None = None,
    **ids: str,
) -> httpx.Response:
    """Make the request of an operation; ``headers`` are instead of those that let callers in."""
    method, _, path = operation.partition(" ")
    return await server.http.request(
        method,
        path.format(**(IDS | ids)),
        json=BODIES.get(operation) if json is None else json,
        headers=server.known if headers is None else headers,
    )


def detail_of(answer: httpx.Response) -> dict[str, str]:
    """Return what an error says."""
    detail: dict[str, str] = answer.json()["detail"]
    return detail


async def conversation(server: Server, query: str = "What does the fox do?") -> str:
    """Ask something; returns the id of the conversation."""
    answer = await asking(server, "POST /v1/query", {"query": query})
    assert answer.status_code == 200, answer.text
    conversation_id: str = answer.json()["conversation_id"]
    return conversation_id
