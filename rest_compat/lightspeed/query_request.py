"""What ``/v1/query`` and ``/v1/streaming_query`` take: LCS's ``QueryRequest``."""

from typing import Annotated, Any, Self

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from agent.nesting import too_deep
from rest_compat.lightspeed.conversation_ids import read_conversation_id

JSON, TEXT = "application/json", "text/plain"
SOLR_BYTES = 16 * 1024
NAME_CHARS = 256
"""The most characters of a name, and how many names there may be in a list."""
_EXAMPLE: dict[str, JsonValue] = {
    "attachment_type": "log",
    "content_type": "text/plain",
    "content": "this is attachment",
}
_POD: dict[str, JsonValue] = {
    "attachment_type": "configuration",
    "content_type": "application/yaml",
    "content": "kind: Pod\nmetadata:\n    name: private-reg",
}


def _encodable(text: str) -> str:
    """JSON can name halves of characters, which nobody takes for text."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValueError("must be text that can be encoded") from exc
    return text


Text = Annotated[str, AfterValidator(_encodable)]


class Attachment(BaseModel):
    """A text that comes with a query.

    YAML with **kind** and **metadata/name** is a resource of that name:
    ```
    kind: Pod
    metadata:
        name: private-reg
    ```
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE, _POD]})

    attachment_type: str = Field(
        description="The attachment type, like 'log', 'configuration' etc.", examples=["log"]
    )
    content_type: str = Field(
        description="The content type as defined in MIME standard", examples=[TEXT]
    )
    content: Text = Field(
        description="The actual attachment content", examples=["warning: quota exceeded"]
    )


class QueryRequest(BaseModel):
    """A question, and how it is to be answered."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "query": "write a deployment yaml for the mongodb image",
                    "conversation_id": "123e4567-e89b-12d3-a456-426614174000",
                    "provider": "openai",
                    "model": "model-name",
                    "system_prompt": "You are a helpful assistant",
                    "no_tools": False,
                    "generate_topic_summary": True,
                    "attachments": [_EXAMPLE, _POD],
                    "vector_store_ids": ["ocp_docs", "knowledge_base"],
                }
            ]
        },
    )

    query: Text = Field(description="The query string", examples=["What is Kubernetes?"])
    conversation_id: Text | None = Field(
        default=None,
        description="The optional conversation ID (UUID)",
        examples=["c5260aec-4d82-4370-9fdf-05cf908b3f16"],
    )
    provider: str | None = Field(
        default=None, description="The optional provider", examples=["openai", "watsonx"]
    )
    model: str | None = Field(default=None, description="The optional model", examples=["gpt4mini"])
    system_prompt: Text | None = Field(
        default=None,
        description="The optional system prompt.",
        examples=["You are OpenShift assistant.", "You are Ansible assistant."],
    )
    attachments: list[Attachment] | None = Field(
        default=None, description="The optional list of attachments.", examples=[_EXAMPLE, _POD]
    )
    no_tools: bool | None = Field(
        default=False,
        description="Whether to bypass all tools and MCP servers",
        examples=[True, False],
    )
    generate_topic_summary: bool | None = Field(
        default=True,
        description="Whether to generate topic summary for new conversations",
        examples=[True, False],
    )
    media_type: str | None = Field(
        default=None, description="Media type for the response format", examples=[JSON, TEXT]
    )
    vector_store_ids: list[str] | None = Field(
        default=None,
        description="Optional list of specific vector store IDs to query for RAG. If not provided, "
        "all available vector stores will be queried.",
        examples=["ocp_docs", "knowledge_base", "vector_db_1"],
    )
    shield_ids: list[str] | None = Field(
        default=None,
        description="Optional list of safety shield IDs to apply. If None, all configured shields "
        "are used. If provided, must contain at least one valid shield ID (empty list raises 422 "
        "error).",
        examples=["llama-guard", "custom-shield"],
    )
    solr: dict[str, Any] | None = Field(
        default=None,
        description="Solr-specific query parameters including filter queries",
        examples=[{"fq": ["product:*openshift*", "product_version:*4.16*"]}],
    )

    @field_validator("query")
    @classmethod
    def _asks_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("Query cannot be empty or whitespace-only")
        return value

    @field_validator("conversation_id")
    @classmethod
    def _is_conversation_id(cls, value: str | None) -> str | None:
        if value and read_conversation_id(value) is None:
            raise ValueError(f"Improper conversation ID '{value[:NAME_CHARS]}'")
        return value

    @field_validator("provider", "model")
    @classmethod
    def _is_name(cls, value: str | None) -> str | None:
        if value is not None:
            _check_name(value)
        return value

    @field_validator("vector_store_ids", "shield_ids")
    @classmethod
    def _are_names(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and len(value) > NAME_CHARS:
            raise ValueError(f"must hold {NAME_CHARS} ids at most")
        for name in value or ():
            _check_name(name)
        return value

    @field_validator("solr")
    @classmethod
    def _can_be_sent(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            body = msgspec.json.encode(value)
        except (RecursionError, UnicodeError) as exc:
            raise ValueError("must be JSON that others can read as well") from exc
        if len(body) > SOLR_BYTES or too_deep(body):
            raise ValueError(f"must not be longer than {SOLR_BYTES} bytes, nor nested deeply")
        return value

    @model_validator(mode="after")
    def _names_model_and_provider(self) -> Self:
        if self.model and not self.provider:
            raise ValueError("Provider must be specified if model is specified")
        if self.provider and not self.model:
            raise ValueError("Model must be specified if provider is specified")
        return self

    @model_validator(mode="after")
    def _has_known_media_type(self) -> Self:
        if self.media_type and self.media_type not in {JSON, TEXT}:
            raise ValueError(f"media_type must be either '{JSON}' or '{TEXT}'")
        return self


def _check_name(name: str) -> None:
    if len(name) > NAME_CHARS or not name.isprintable():
        raise ValueError(f"an id has {NAME_CHARS} printable characters at most")
