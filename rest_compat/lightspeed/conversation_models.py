"""The bodies of ``/v1/conversations`` and ``/v2/conversations``."""

from collections.abc import Awaitable, Iterable
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from agent.conversation_turns import Turn
from agent.errors import UnsupportedOperation
from rest_compat.lightspeed.tool_steps import ToolSteps
from rest_compat.lightspeed.tool_summaries import ToolCallSummary, ToolResultSummary

TOPIC_CHARS = 1000
_ID = "123e4567-e89b-12d3-a456-426614174000"


class Message(BaseModel):
    """What somebody said."""

    content: str = Field(description="The message content", examples=["Hello, how can I help you?"])
    type: Literal["user", "assistant", "system", "developer"] = Field(
        description="The type of message", examples=["user", "assistant", "system", "developer"]
    )


class ConversationTurn(BaseModel):
    """A message of the user and what came of it; a turn that ended without a word has no second message."""

    messages: list[Message] = Field([], description="List of messages in this turn")
    tool_calls: list[ToolCallSummary] = Field(
        [], description="List of tool calls made in this turn"
    )
    tool_results: list[ToolResultSummary] = Field(
        [], description="List of tool results from this turn"
    )
    provider: str = Field(description="Provider identifier used for this turn", examples=["openai"])
    model: str = Field(description="Model identifier used for this turn", examples=["gpt-4o-mini"])
    started_at: str = Field(
        description="ISO 8601 timestamp when the turn started", examples=["2024-01-01T00:01:00Z"]
    )
    completed_at: str = Field(
        description="ISO 8601 timestamp when the turn completed", examples=["2024-01-01T00:01:05Z"]
    )


class ConversationResponse(BaseModel):
    """What was said in a conversation, in order."""

    conversation_id: str = Field(description="Conversation ID (UUID)", examples=[_ID])
    chat_history: list[ConversationTurn] = Field(
        description="The simplified chat history as a list of conversation turns"
    )


class ConversationDetails(BaseModel):
    """A conversation in a list."""

    conversation_id: str = Field(description="Conversation ID (UUID)", examples=[_ID])
    created_at: str | None = Field(
        None,
        description="When the conversation was created",
        examples=["2024-01-01T01:00:00Z"],
    )
    last_message_at: str | None = Field(
        None, description="When the last message was sent", examples=["2024-01-01T01:00:00Z"]
    )
    message_count: int | None = Field(
        None, description="Number of user messages in the conversation", examples=[42]
    )
    last_used_model: str | None = Field(
        None,
        description="Identification of the last model used for the conversation",
        examples=["gpt-4-turbo", "gpt-3.5-turbo-0125"],
    )
    last_used_provider: str | None = Field(
        None,
        description="Identification of the last provider used for the conversation",
        examples=["openai", "gemini"],
    )
    topic_summary: str | None = Field(
        None,
        description="Topic summary for the conversation",
        examples=["Openshift Microservices Deployment Strategies"],
    )


class ConversationsListResponse(BaseModel):
    """The conversations, the oldest first."""

    conversations: list[ConversationDetails]


class ConversationData(BaseModel):
    """A conversation in the list of the cache; the time is in seconds since the epoch."""

    conversation_id: str
    topic_summary: str | None
    last_message_timestamp: float


class ConversationsListResponseV2(BaseModel):
    """The conversations, the one in which something was said last first."""

    conversations: list[ConversationData]


class ConversationUpdateRequest(BaseModel):
    """What a conversation is to be about."""

    model_config = ConfigDict(extra="forbid")

    topic_summary: str = Field(
        description="The new topic summary for the conversation",
        examples=["Discussion about machine learning algorithms"],
        min_length=1,
        max_length=TOPIC_CHARS,
    )

    @field_validator("topic_summary")
    @classmethod
    def _can_be_kept(cls, value: str) -> str:
        """Refuse what PostgreSQL cannot keep in a text."""
        if "\0" in value:
            raise ValueError("must not have NUL characters")
        return value


class ConversationUpdateResponse(BaseModel):
    """What became of a change."""

    conversation_id: str = Field(
        description="The conversation ID (UUID) that was updated", examples=[_ID]
    )
    success: bool = Field(description="Whether the update was successful", examples=[True])
    message: str = Field(
        description="A message about the update result",
        examples=["Topic summary updated successfully"],
    )


class ConversationDeleteResponse(BaseModel):
    """What became of a deletion: what is not there is deleted already."""

    conversation_id: str = Field(
        description="The conversation ID (UUID) that was deleted.", examples=[_ID]
    )
    success: bool = Field(
        description="Whether the deletion was successful.", examples=[True, False]
    )
    response: str = Field(
        description="A message about the deletion result.",
        examples=["Conversation deleted successfully", "Conversation cannot be deleted"],
    )


async def deleted(conversation_id: str, deletion: Awaitable[bool]) -> ConversationDeleteResponse:
    """Return what becomes of a deletion, which tells whether there was anything to delete.

    One that gives up, because something in the conversation does not end, is no success.
    """
    try:
        there, success = await deletion, True
    except UnsupportedOperation:
        there, success = False, False
    response = "Conversation deleted successfully" if there else "Conversation cannot be deleted"
    return ConversationDeleteResponse(
        conversation_id=conversation_id, success=success, response=response
    )


def updated(conversation_id: str) -> ConversationUpdateResponse:
    """Return that a topic has been changed."""
    return ConversationUpdateResponse(
        conversation_id=conversation_id, success=True, message="Topic summary updated successfully"
    )


def shown_turn(turn: Turn) -> ConversationTurn:
    """Return a turn as it is shown."""
    messages = [Message(content=turn.question, type="user")]
    if turn.answer is not None:
        messages.append(Message(content=turn.answer, type="assistant"))
    provider, model = provider_and_model(turn.model)
    calls, results = _tools(turn.tools)
    return ConversationTurn(
        messages=messages,
        tool_calls=calls,
        tool_results=results,
        provider=provider,
        model=model,
        started_at=iso(turn.started_at),
        completed_at=iso(turn.completed_at),
    )


def _tools(
    entries: Iterable[dict[str, Any]],
) -> tuple[list[ToolCallSummary], list[ToolResultSummary]]:
    """Tell what tools did as the answers of queries tell it: each entry is a call that has ended."""
    calls, results = [], []
    for entry in entries:
        result = entry.get("result")
        ended = result if isinstance(result, dict) else {"result": result}
        call_id = str(ended.get("call_id", ""))
        began = {"call_id": call_id, "arguments": entry.get("arguments"), "type": entry.get("type")}
        step = {"kind": "tool_execution", "name": str(entry.get("tool_name", ""))}
        steps = ToolSteps()
        called = steps.read({**step, "state": "started", "detail": began})
        said = steps.read({**step, "state": "ended", "detail": {**ended, "call_id": call_id}})
        if isinstance(called, ToolCallSummary) and isinstance(said, ToolResultSummary):
            calls.append(called)
            results.append(said.model_copy(update={"round": entry.get("round", 1)}))
    return calls, results


def provider_and_model(name: str | None) -> tuple[str, str]:
    """Split ``provider/model``; the name of a model may have slashes of its own."""
    provider, slash, model = (name or "").partition("/")
    return (provider, model) if slash else ("", provider)


def iso(at: int) -> str:
    """Write a moment in ms since the epoch as LCS does, to the second."""
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
