"""Rows of datasets -> examples that a worker reads: conversations, all in the same form.

sft  {"prompt": [message...], "completion": [message]}
dpo  {"prompt": [message...], "chosen": [message], "rejected": [message]}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agent.jobs.progress import JobFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.training.plan import Plan

type Json = Any

_ROLES = frozenset({"system", "user", "assistant"})
_QUESTIONS = ("chat_completion_input", "input_query", "prompt", "input", "question")
_ANSWERS = ("expected_answer", "completion", "output", "answer")
_DIALOGS = ("dialog", "messages")


def reader_of(plan: Plan) -> Callable[[Json], Json]:
    """Return what reads a row for a plan; it raises ``JobFailed`` with what the row lacks."""
    if plan.method == "dpo":
        return _pair
    return _dialog if plan.data_format == "dialog" else _instruction


def _instruction(row: Json) -> Json:
    return {
        "prompt": _messages(_column(row, _QUESTIONS), "user"),
        "completion": [_answer(_column(row, _ANSWERS))],
    }


def _dialog(row: Json) -> Json:
    messages = _messages(_column(row, _DIALOGS), "user")
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise JobFailed("a dialog must end with what the assistant said to something")
    return {"prompt": messages[:-1], "completion": messages[-1:]}


def _pair(row: Json) -> Json:
    return {
        "prompt": _messages(_column(row, ("prompt",)), "user"),
        "chosen": [_answer(_column(row, ("chosen",)))],
        "rejected": [_answer(_column(row, ("rejected",)))],
    }


def _column(row: Json, names: tuple[str, ...]) -> Json:
    if isinstance(row, dict):
        for name in names:
            if row.get(name):
                return row[name]
    raise JobFailed(f"it has nothing in {' or '.join(names)}")


def _answer(value: Json) -> Json:
    """Return what the assistant says: a text, or the last of the messages."""
    return {**_messages(value, "assistant")[-1], "role": "assistant"}


def _messages(value: Json, role: str) -> list[Json]:
    """Return messages, given as such, or as the JSON of such, or as what ``role`` says."""
    if isinstance(value, str):
        value = _decoded(value) or [{"role": role, "content": value}]
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value:
        raise JobFailed("a conversation must be a text or a list of messages")
    return [_message(message) for message in value]


def _decoded(text: str) -> list[Json] | None:
    if not text.lstrip().startswith("[{"):
        return None
    try:
        decoded = msgspec.json.decode(text, type=list[dict[str, Any]])
    except (msgspec.DecodeError, RecursionError):
        return None
    return decoded if all("role" in message for message in decoded) else None


def _message(message: Json) -> Json:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in _ROLES:
        raise JobFailed(f"the role of a message must be one of {', '.join(sorted(_ROLES))}")
    content = message.get("content")
    if not isinstance(content, str):
        raise JobFailed("the content of a message must be a text")
    return {"role": role, "content": content}
