"""The OpenAPI document: what FastAPI knows of its routes, and the operations that are served beside it.

The cards and JSON-RPC are not FastAPI's, but are LCS's API as well; LCS's names of them are kept.
"""

from __future__ import annotations

from typing import Any, override

from fastapi import FastAPI

_REFERENCE = "#/components/schemas/{model}"
_CARD = {"schema": {"$ref": _REFERENCE.format(model="AgentCard")}}
_ANY: dict[str, Any] = {"schema": {}}
# LCS's POST has the id of its GET: it documents one handler for both.
_RPC = "handle_a2a_jsonrpc_a2a_get"


def _operation(operation_id: str, summary: str, says: str, content: Any) -> dict[str, Any]:
    return {
        "tags": ["a2a"],
        "summary": summary,
        "description": says,
        "operationId": operation_id,
        "responses": {
            "200": {
                "description": "Successful Response",
                "content": {"application/json": content},
            }
        },
    }


_WHAT_IT_IS = "The agent card: what this agent can do, and where. Nobody has to say who they are."
OUTSIDE: dict[str, dict[str, Any]] = {
    "/.well-known/agent-card.json": {
        "get": _operation(
            "get_agent_card__well_known_agent_card_json_get",
            "Get Agent Card",
            _WHAT_IT_IS,
            _CARD,
        )
    },
    "/.well-known/agent.json": {
        "get": _operation(
            "get_agent_card__well_known_agent_json_get",
            "Get Agent Card",
            "The same as at `/.well-known/agent-card.json`, where older clients look for it.",
            _CARD,
        )
    },
    "/a2a": {
        "get": _operation(
            _RPC,
            "Handle A2A JSON-RPC",
            "The agent card, for who looks at the address of A2A.",
            _ANY,
        ),
        "post": _operation(
            _RPC,
            "Handle A2A JSON-RPC",
            "A2A over JSON-RPC 2.0: one call, or a batch; streaming methods are answered as a stream "
            "of events.",
            _ANY,
        ),
    },
}
"""The operations that FastAPI does not serve, by path and method."""


class Documented(FastAPI):
    """An application whose document has the operations beside it, too.

    The document is made when it is first asked for: the types of the card take a moment to import.
    """

    @override
    def openapi(self) -> dict[str, Any]:
        """Return the document."""
        document: dict[str, Any] = super().openapi()
        # FastAPI keeps it as long as the routes are the same.
        if not OUTSIDE.keys() <= document["paths"].keys():
            document["paths"] |= OUTSIDE
            document["components"]["schemas"] |= _card_schemas()
        return document


def _card_schemas() -> dict[str, Any]:
    """Return the schemas of the card of A2A 0.3, by name; cards of 1.0 fit as well."""
    from a2a.compat.v0_3.types import AgentCard

    schema = AgentCard.model_json_schema(ref_template=_REFERENCE, mode="serialization")
    parts: dict[str, Any] = schema.pop("$defs")
    return parts | {"AgentCard": schema}
