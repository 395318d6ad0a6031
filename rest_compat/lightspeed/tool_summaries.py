"""What tools were asked and what they said, as LCS shows it in answers and in histories."""

from typing import Any

from pydantic import BaseModel, Field


class ToolCallSummary(BaseModel):
    """A tool call: which tool was asked what."""

    id: str = Field(description="ID of the tool call")
    name: str = Field(description="Name of the tool called")
    args: dict[str, Any] = Field(default_factory=dict, description="Arguments passed to the tool")
    type: str = Field(default="tool_call", description="Type indicator for tool call")


class ToolResultSummary(BaseModel):
    """What came of a tool call; ``content`` is text, or JSON as text."""

    id: str = Field(
        description="ID of the tool call/result, matches the corresponding tool call 'id'"
    )
    status: str = Field(description="Status of the tool execution (e.g., 'success')")
    content: str = Field(description="Content/result returned from the tool")
    type: str = Field(default="tool_result", description="Type indicator for tool result")
    round: int = Field(description="Round number or step of tool execution")
