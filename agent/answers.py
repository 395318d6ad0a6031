"""A user's follow-up -> answers to what the turn asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from agent.stacks import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Json, Message, Part

YES = frozenset({"approve", "approved", "yes", "y", "ok", "allow", "true"})


def answers(
    question: Message | None, message: Message, *, waited: bool = False
) -> tuple[Answer, ...]:
    """Match ``message`` to the calls that ``question`` names.

    A data part answers by ``call_id``: ``{"call_id", "content"}`` for a tool, ``{"call_id",
    "approve"}`` for an approval, or a list of these under ``answers``. Text answers every call that
    no data part answered. A message that ``waited`` was written before the question was asked: it
    approves only what it names by its ``call_id``.
    """
    calls = list(_calls(question))
    given = {
        item["call_id"]: item for item in _given(message) if isinstance(item.get("call_id"), str)
    }
    text = "\n".join(part.text for part in message.parts if part.text is not None)
    loose = [item for item in _given(message) if "call_id" not in item]
    return tuple(
        _answer(
            call, given.get(call["call_id"]) or (loose[0] if loose else {}), text, waited=waited
        )
        for call in calls
    )


def _answer(call: dict[str, Any], given: dict[str, Any], text: str, *, waited: bool) -> Answer:
    content = given.get("content", text)
    if call["is_approval"]:
        named = given.get("call_id") == call["call_id"]
        says = given.get("approve", "" if waited else text)
        approve = _is_yes(says) and (named or not waited)
        return Answer(call["call_id"], str(given.get("reason", text)), approve=approve)
    return Answer(
        call["call_id"], content if isinstance(content, str) else _json(content), call["name"]
    )


def _is_yes(value: Json) -> bool:
    """Only a clear yes approves."""
    return value is True or (isinstance(value, str) and value.strip().lower() in YES)


def _calls(question: Message | None) -> Iterator[dict[str, Any]]:
    """Yield the calls; a stack may also ask for what is no call, in a shape of its own."""
    for part in question.parts if question else ():
        data = _data(part)
        for key, is_approval in (("tool_calls", False), ("approvals", True)):
            calls = data.get(key)
            for call in calls if isinstance(calls, list) else ():
                if isinstance(call, dict) and isinstance(call.get("call_id"), str):
                    yield {
                        "call_id": call["call_id"],
                        "name": call.get("tool_name"),
                        "is_approval": is_approval,
                    }


def _given(message: Message) -> Iterator[dict[str, Any]]:
    for part in message.parts:
        data = _data(part)
        many = data.get("answers")
        items = many if isinstance(many, list) else [data]
        yield from (item for item in items if isinstance(item, dict) and item)


def _data(part: Part) -> dict[str, Any]:
    return part.data if part.data is not UNSET and isinstance(part.data, dict) else {}


def _json(value: Json) -> str:
    return msgspec.json.encode(value).decode()
