"""The steps of a turn, as Llama Stack's agents API has them, and what they say."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from agent.stacks.embedded.messages import ModelMessage, ToolCall, ToolMessage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.stacks.embedded.messages import Message
    from agent.stacks.turn import Json


def now() -> str:
    """Return the time as steps have it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class Begun(msgspec.Struct, frozen=True):
    """A step that is under way."""

    turn_id: str
    step_id: str
    started_at: str


def begin(turn_id: str) -> Begun:
    """Begin a step of a turn."""
    return Begun(turn_id, str(uuid.uuid4()), now())


def inference(begun: Begun, message: ModelMessage) -> Json:
    """Write what the model said."""
    return _step(begun, "inference") | {"model_response": response_of(message)}


def tool_execution(begun: Begun, calls: Sequence[ToolCall], results: Sequence[ToolMessage]) -> Json:
    """Write what tool calls came to."""
    return _step(begun, "tool_execution") | {
        "tool_calls": [_call(call) for call in calls],
        "tool_responses": [
            {
                "call_id": result.call_id,
                "tool_name": result.tool_name,
                "content": result.content,
                "metadata": None,
            }
            for result in results
        ],
    }


def shield_call(begun: Begun, violation: Json) -> Json:
    """Write the verdict of a shield; ``violation`` is None when nothing is wrong."""
    return _step(begun, "shield_call") | {"violation": violation}


def response_of(message: ModelMessage) -> Json:
    """Write a message of the model."""
    return {
        "role": "assistant",
        "content": message.text,
        "stop_reason": message.stop_reason,
        "tool_calls": [_call(call) for call in message.tool_calls],
    }


def messages_of(steps: Sequence[Json]) -> Iterator[Message]:
    """Read what was said; tool calls without a result are left out, for no model takes them."""
    answered = {response["call_id"] for response in _responses(steps)}
    for step in steps:
        if step["step_type"] == "inference":
            said = step["model_response"]
            calls = tuple(call for call in _calls(said) if call.call_id in answered)
            if calls or said["content"]:
                yield ModelMessage(said["content"], calls, said["stop_reason"])
        for response in step.get("tool_responses", ()):
            yield ToolMessage(response["call_id"], response["tool_name"], response["content"])


def withhold(step: Json) -> None:
    """Take the text out of an inference: it is not to be heard."""
    if step["step_type"] == "inference":
        step["model_response"]["content"] = ""


def unanswered(steps: Sequence[Json]) -> list[ToolCall]:
    """Return the tool calls of the last inference that have no result yet."""
    answered = {response["call_id"] for response in _responses(steps)}
    last = next((s for s in reversed(steps) if s["step_type"] == "inference"), None)
    if last is None:
        return []
    return [call for call in _calls(last["model_response"]) if call.call_id not in answered]


def calls_of(steps: Sequence[Json]) -> Iterator[ToolCall]:
    """Return all tool calls of the model."""
    for step in steps:
        if step["step_type"] == "inference":
            yield from _calls(step["model_response"])


def inferences(steps: Sequence[Json]) -> int:
    """Count how often the model was asked."""
    return sum(step["step_type"] == "inference" for step in steps)


def text_of(steps: Sequence[Json]) -> str:
    """Return what the model said in these steps."""
    said = (step["model_response"]["content"] for step in steps if step["step_type"] == "inference")
    return SEPARATOR.join(text for text in said if text)


SEPARATOR = "\n\n"
"""What stands between the texts of two inferences of one turn."""


def _step(begun: Begun, kind: str) -> dict[str, Json]:
    return {
        "turn_id": begun.turn_id,
        "step_id": begun.step_id,
        "step_type": kind,
        "started_at": begun.started_at,
        "completed_at": now(),
    }


def _call(call: ToolCall) -> Json:
    return {"call_id": call.call_id, "tool_name": call.tool_name, "arguments": call.arguments}


def _calls(said: Json) -> list[ToolCall]:
    return [ToolCall(c["call_id"], c["tool_name"], c["arguments"]) for c in said["tool_calls"]]


def _responses(steps: Sequence[Json]) -> Iterator[Json]:
    for step in steps:
        yield from step.get("tool_responses", ())
