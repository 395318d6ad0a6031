"""What is said in a turn: messages, documents and the responses of tools, as Llama Stack 0.3.5 has them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from agent.agents.base import NewTurn
from rest_compat.llama_stack.agents_config import AgentTool, JsonObject, Name, ToolConfig

MESSAGES, DOCUMENTS, TOOLS, ITEMS = 100, 100, 256, 1000
"""Most messages and documents of a turn, tool groups or responses, and items of one content."""


class _OneOrMany:
    """Takes one by itself for a list of it, as the seed of the API has them."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Tell of both forms."""
        many = handler(schema)
        listed = handler.resolve_ref_schema(many)
        return {"anyOf": [many, listed["items"]]}


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, dict | str) else value


# Models choose them, and some put more into them than a name.
CallId = Annotated[str, Field(min_length=1, max_length=4096)]
_SINGLE = (BeforeValidator(_listed), _OneOrMany())


class URL(BaseModel):
    """A URL reference to external content."""

    uri: str = Field(min_length=1)


class TextContentItem(BaseModel):
    """A text content item."""

    type: Literal["text"]
    text: str


class UrlOrData(BaseModel):
    """An image: where it is, or itself in base64."""

    url: URL | None = None
    data: str | None = Field(default=None, json_schema_extra={"contentEncoding": "base64"})

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.url is None) == (self.data is None):
            raise ValueError("must have either url or data")
        return self


class ImageContentItem(BaseModel):
    """A image content item."""

    type: Literal["image"]
    image: UrlOrData


type InterleavedContentItem = Annotated[
    ImageContentItem | TextContentItem, Field(discriminator="type")
]
_Items = Annotated[list[InterleavedContentItem], Field(max_length=ITEMS)]
type InterleavedContent = str | InterleavedContentItem | _Items


class UserMessage(BaseModel):
    """A message from the user in a chat conversation."""

    role: Literal["user"] = "user"
    content: InterleavedContent
    context: InterleavedContent | None = Field(
        default=None, description="What the model reads beside the content"
    )


class ToolResponseMessage(BaseModel):
    """A message representing the result of a tool invocation."""

    role: Literal["tool"] = "tool"
    call_id: CallId
    content: InterleavedContent


class Document(BaseModel):
    """A document to be used by an agent."""

    content: str | InterleavedContentItem | _Items | URL
    mime_type: Name


class ToolResponse(BaseModel):
    """Response from a tool invocation."""

    call_id: CallId = Field(description="The tool call this response is for")
    tool_name: Name
    content: InterleavedContent
    metadata: JsonObject | None = None


class CreateAgentTurnRequest(BaseModel):
    """What an agent is told, and how the answer is to come."""

    messages: Annotated[
        list[UserMessage | ToolResponseMessage],
        Field(min_length=1, max_length=MESSAGES),
        *_SINGLE,
    ]
    stream: bool | None = Field(
        default=False, description="Whether the answer comes as it is made, as server-sent events"
    )
    documents: Annotated[list[Document], Field(max_length=DOCUMENTS), *_SINGLE] | None = None
    toolgroups: Annotated[list[AgentTool], Field(max_length=TOOLS), *_SINGLE] | None = Field(
        default=None, description="Tool groups in place of the agent's, for this turn"
    )
    tool_config: ToolConfig | None = Field(
        default=None, description="In place of the agent's tool_config, for this turn"
    )

    def turn(self) -> NewTurn:
        """Return what the agent is asked."""
        given = self.model_dump(mode="json", exclude={"stream"})
        groups = given["toolgroups"]
        return NewTurn(
            messages=tuple(given["messages"]),
            documents=tuple(given["documents"] or ()),
            toolgroups=None if groups is None else tuple(groups),
            tool_config=given["tool_config"],
        )


class ResumeAgentTurnRequest(BaseModel):
    """What the tools have answered that the client runs itself."""

    tool_responses: Annotated[list[ToolResponse], Field(min_length=1, max_length=TOOLS), *_SINGLE]
    stream: bool | None = Field(
        default=False, description="Whether the answer comes as it is made, as server-sent events"
    )
