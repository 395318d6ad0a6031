"""What a turn looks like from outside, for the OpenAPI document: answers are not checked against it."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from rest_compat.llama_stack.turns_messages import (
    URL,
    InterleavedContent,
    InterleavedContentItem,
    ToolResponse,
    ToolResponseMessage,
    UserMessage,
)

type StepType = Literal["inference", "tool_execution", "shield_call", "memory_retrieval"]
type ViolationLevel = Literal["info", "warn", "error"]


class ToolCall(BaseModel):
    """A call of a tool."""

    call_id: str
    tool_name: str
    arguments: str = Field(description="JSON")


class CompletionMessage(BaseModel):
    """A message containing the model's (assistant) response in a chat conversation."""

    role: Literal["assistant"] = "assistant"
    content: InterleavedContent
    stop_reason: Literal["end_of_turn", "end_of_message", "out_of_tokens"]
    tool_calls: list[ToolCall] | None = None


class SafetyViolation(BaseModel):
    """Details of a safety violation detected by content moderation."""

    violation_level: ViolationLevel
    user_message: str | None = None
    metadata: dict[str, Any]


class _Step(BaseModel):
    turn_id: str
    step_id: str
    started_at: datetime | None = None
    completed_at: datetime | None = None


class InferenceStep(_Step):
    """An inference step in an agent turn."""

    step_type: Literal["inference"] = "inference"
    model_response: CompletionMessage


class ToolExecutionStep(_Step):
    """A tool execution step in an agent turn."""

    step_type: Literal["tool_execution"] = "tool_execution"
    tool_calls: list[ToolCall]
    tool_responses: list[ToolResponse]


class ShieldCallStep(_Step):
    """A shield call step in an agent turn."""

    step_type: Literal["shield_call"] = "shield_call"
    violation: SafetyViolation | None = None


class MemoryRetrievalStep(_Step):
    """A memory retrieval step in an agent turn."""

    step_type: Literal["memory_retrieval"] = "memory_retrieval"
    vector_db_ids: str
    inserted_context: InterleavedContent


Step = Annotated[
    InferenceStep | ToolExecutionStep | ShieldCallStep | MemoryRetrievalStep,
    Field(discriminator="step_type"),
]


class AgentStepResponse(BaseModel):
    """Response containing details of a specific agent step."""

    step: Step


class Attachment(BaseModel):
    """An attachment to an agent turn."""

    content: str | InterleavedContentItem | list[InterleavedContentItem] | URL
    mime_type: str


class Turn(BaseModel):
    """A single turn in an interaction with an Agentic System."""

    turn_id: str
    session_id: str
    input_messages: list[UserMessage | ToolResponseMessage]
    steps: list[Step]
    output_message: CompletionMessage
    output_attachments: list[Attachment] | None = None
    started_at: datetime
    completed_at: datetime | None = None


class TextDelta(BaseModel):
    """A text content delta for streaming responses."""

    type: Literal["text"] = "text"
    text: str


class ImageDelta(BaseModel):
    """An image content delta for streaming responses."""

    type: Literal["image"] = "image"
    image: str = Field(json_schema_extra={"contentEncoding": "base64"})


class ToolCallDelta(BaseModel):
    """A tool call content delta for streaming responses: a piece of a call, or the whole."""

    type: Literal["tool_call"] = "tool_call"
    tool_call: str | ToolCall
    parse_status: Literal["started", "in_progress", "failed", "succeeded"]


class AgentTurnResponseTurnStartPayload(BaseModel):
    """A turn begins."""

    event_type: Literal["turn_start"] = "turn_start"
    turn_id: str


class _StepPayload(BaseModel):
    step_type: StepType
    step_id: str


class AgentTurnResponseStepStartPayload(_StepPayload):
    """A step begins."""

    event_type: Literal["step_start"] = "step_start"
    metadata: dict[str, Any] | None = None


class AgentTurnResponseStepProgressPayload(_StepPayload):
    """A step goes on."""

    event_type: Literal["step_progress"] = "step_progress"
    delta: Annotated[TextDelta | ImageDelta | ToolCallDelta, Field(discriminator="type")]


class AgentTurnResponseStepCompletePayload(_StepPayload):
    """A step is over."""

    event_type: Literal["step_complete"] = "step_complete"
    step_details: Step


class AgentTurnResponseTurnCompletePayload(BaseModel):
    """A turn is over."""

    event_type: Literal["turn_complete"] = "turn_complete"
    turn: Turn


class AgentTurnResponseTurnAwaitingInputPayload(BaseModel):
    """A turn waits for the responses of tools that the client runs."""

    event_type: Literal["turn_awaiting_input"] = "turn_awaiting_input"
    turn: Turn


class AgentTurnResponseEvent(BaseModel):
    """An event in an agent turn response stream."""

    payload: Annotated[
        AgentTurnResponseStepStartPayload
        | AgentTurnResponseStepProgressPayload
        | AgentTurnResponseStepCompletePayload
        | AgentTurnResponseTurnStartPayload
        | AgentTurnResponseTurnCompletePayload
        | AgentTurnResponseTurnAwaitingInputPayload,
        Field(discriminator="event_type"),
    ]


class AgentTurnResponseStreamChunk(BaseModel):
    """Streamed agent turn completion response."""

    event: AgentTurnResponseEvent
