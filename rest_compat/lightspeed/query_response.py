"""What ``/v1/query`` answers: LCS's ``QueryResponse``."""

from typing import Any

from pydantic import BaseModel, Field

from rest_compat.lightspeed.references import RAGChunk, ReferencedDocument
from rest_compat.lightspeed.tool_summaries import ToolCallSummary, ToolResultSummary

EXAMPLE: dict[str, Any] = {
    "conversation_id": "123e4567-e89b-12d3-a456-426614174000",
    "response": "Operator Lifecycle Manager (OLM) helps users install...",
    "rag_chunks": [],
    "referenced_documents": [
        {
            "doc_url": "https://docs.openshift.com/container-platform/4.15/operators/olm/index.html",
            "doc_title": "Operator Lifecycle Manager concepts and resources",
        }
    ],
    "truncated": False,
    "input_tokens": 123,
    "output_tokens": 456,
    "available_quotas": {"ClusterQuotaLimiter": 998911, "UserQuotaLimiter": 998911},
    "tool_calls": [{"id": "1", "name": "tool1", "args": {}, "type": "mcp_call"}],
    "tool_results": [
        {"id": "1", "status": "success", "content": "bla", "type": "mcp_call", "round": 1}
    ],
}


class QueryResponse(BaseModel):
    """The answer to a query, and how it came about."""

    conversation_id: str | None = Field(
        default=None,
        description="The optional conversation ID (UUID)",
        examples=["c5260aec-4d82-4370-9fdf-05cf908b3f16"],
    )
    response: str = Field(
        description="Response from LLM",
        examples=["Kubernetes is an open-source container orchestration system for automating ..."],
    )
    rag_chunks: list[RAGChunk] = Field(
        default_factory=list,
        description="Deprecated: List of RAG chunks used to generate the response.",
    )
    referenced_documents: list[ReferencedDocument] = Field(
        default_factory=list,
        description="List of documents referenced in generating the response",
    )
    truncated: bool = Field(
        default=False, description="Deprecated:Whether conversation history was truncated"
    )
    input_tokens: int = Field(default=0, description="Number of tokens sent to LLM")
    output_tokens: int = Field(default=0, description="Number of tokens received from LLM")
    available_quotas: dict[str, int] = Field(
        default_factory=dict,
        description="Quota available as measured by all configured quota limiters",
        examples=[{"daily": 1000, "monthly": 50000}],
    )
    tool_calls: list[ToolCallSummary] = Field(
        default_factory=list, description="List of tool calls made during response generation"
    )
    tool_results: list[ToolResultSummary] = Field(
        default_factory=list, description="List of tool results"
    )
