"""Turns, steps and messages, as the agents API writes them. No I/O."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.agents.base import Json

INFERENCE, TOOL, SHIELD = "inference", "tool_execution", "shield_call"

_NAMESPACE = uuid.UUID("3c7f4f0e-55a5-4a0b-8d5c-2f1be9a0d6c4")
_V7 = 14  # where a UUID says its version


def step_id_of(task_id: str, kind: str, key: str | int) -> str:
    """Return the id of a step that the stack does not keep: the same whenever it is made again."""
    return str(uuid.uuid5(_NAMESPACE, f"{task_id}/{kind}/{key}"))


def written(at: int) -> str:
    """Write a moment, given in ms since the epoch."""
    moment = datetime.fromtimestamp(at // 1000, UTC).replace(microsecond=at % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def began_at(task_id: str, otherwise: int) -> int:
    """Return when a task was made, in ms since the epoch: its id begins with that."""
    if len(task_id) > _V7 and task_id[_V7] == "7":
        try:
            return int(task_id[:8] + task_id[9:13], 16)
        except ValueError:
            return otherwise
    return otherwise


def said(text: str, stop_reason: str = "end_of_turn", calls: Iterable[Json] = ()) -> Json:
    """Write a message of the model."""
    return {
        "role": "assistant",
        "content": text,
        "stop_reason": stop_reason,
        "tool_calls": list(calls),
    }


def call_of(call_id: str, tool_name: str, arguments: Json) -> Json:
    """Write a tool call; the arguments are JSON in a string."""
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return {"call_id": call_id, "tool_name": tool_name, "arguments": text}


def response_of(call_id: str, tool_name: str, content: Json, metadata: Json = None) -> Json:
    """Write what a tool call came to."""
    return {
        "call_id": call_id,
        "tool_name": tool_name,
        "content": content,
        "metadata": metadata,
    }


def step_of(task_id: str, kind: str, step_id: str, times: tuple[str, str], **fields: Json) -> Json:
    """Write a step; ``times`` are when it began and ended."""
    return {
        "turn_id": task_id,
        "step_id": step_id,
        "started_at": times[0],
        "completed_at": times[1],
        "step_type": kind,
        **fields,
    }


def kept_step(task_id: str, step: Json) -> Json:
    """Write a step that the stack keeps: the turn has the id of the task here."""
    shown = {**step, "turn_id": task_id}
    if "tool_responses" in step:
        shown["tool_responses"] = [
            {**response, "metadata": response.get("metadata")}
            for response in step["tool_responses"]
        ]
    return shown


def output_of(
    steps: Sequence[Json],
    *,
    refusal: str | None = None,
    waiting: Sequence[Json] | None = None,
    otherwise: str = "",
) -> Json:
    """Return the last word of a turn: a refusal, a question, or what the model said last.

    ``waiting`` are the calls that the caller is to answer; ``otherwise`` was said without any step.
    """
    if refusal is not None:
        return said(refusal)
    last = next((step for step in reversed(steps) if step["step_type"] == INFERENCE), None)
    message = said(otherwise) if last is None else dict(last["model_response"])
    if waiting is not None:
        # As the model wrote them, where that is known.
        wrote = {call["call_id"]: call for call in message["tool_calls"]}
        message["tool_calls"] = [wrote.get(call["call_id"], call) for call in waiting]
        message["stop_reason"] = "end_of_message"
    return message


def turn_of(
    task_id: str,
    session_id: str,
    input_messages: Sequence[Json],
    steps: Sequence[Json],
    output: Json,
    attachments: Sequence[Json],
    times: tuple[str, str],
) -> Json:
    """Write a turn; ``times`` are when it began and ended, or began to wait."""
    return {
        "turn_id": task_id,
        "session_id": session_id,
        "input_messages": list(input_messages),
        "steps": list(steps),
        "output_message": output,
        "output_attachments": list(attachments),
        "started_at": times[0],
        "completed_at": times[1],
    }
