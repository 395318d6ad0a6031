"""From the parts of a message, and its answers, to what a turn of Llama Stack's agents API takes."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import msgspec

from agent.errors import ContentTypeNotSupported, InvalidParams
from agent.stacks.charset import decode
from agent.stacks.turn import DataPart, FilePart, Json, Part, TextPart

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from agent.stacks.agents_api_wire import ToolCall
    from agent.stacks.turn import Answer

_DOCUMENTS = ("application/json", "application/yaml")
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)


def input_of(parts: Sequence[Part]) -> dict[str, Any]:
    """Return what a turn is given: the message, and the documents that come with it."""
    documents = documents_of(parts)
    return {
        "messages": [message_of(parts, before_documents=bool(documents))],
        "documents": documents,
    }


def message_of(parts: Sequence[Part], *, before_documents: bool) -> dict[str, Json]:
    """Return the user's message: text and images in their order."""
    items = [item for part in parts if (item := _item(part))]
    if len(items) > 1 or any(item["type"] != "text" for item in items):
        return {"role": "user", "content": items}
    text = items[0]["text"] if items else ""
    if text and before_documents:
        text += "\n\n"  # the server puts them right behind it
    return {"role": "user", "content": text}


def documents_of(parts: Sequence[Part]) -> list[dict[str, Json]]:
    """Return the texts and data that come with the message; the server adds them to its text."""
    return [document for part in parts if (document := _document(part))]


def _item(part: Part) -> dict[str, Json] | None:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    if isinstance(part, FilePart) and _base_type(part).startswith("image/"):
        return {"type": "image", "image": _image(part)}
    return None


def _image(part: FilePart) -> dict[str, Json]:
    return {"data": base64.b64encode(_content(part)).decode()}


def _document(part: Part) -> dict[str, Json] | None:
    if isinstance(part, DataPart):
        text = msgspec.json.encode(part.data).decode()
        return {"content": text, "mime_type": "application/json"}
    if isinstance(part, TextPart):
        return None
    media_type = _base_type(part)
    if media_type.startswith("image/"):
        return None
    if not media_type.startswith("text/") and media_type not in _DOCUMENTS:
        raise ContentTypeNotSupported(f"The media type {media_type} is not supported.")
    title = f"{part.name}:\n" if part.name else ""
    return {"content": title + _text(part), "mime_type": media_type}


def _base_type(part: FilePart) -> str:
    return part.media_type.partition(";")[0].strip().lower()


def _content(part: FilePart) -> bytes:
    """Return the bytes; the server would fetch what a URI names, and callers must not send it places."""
    if part.data is None:
        raise ContentTypeNotSupported("This agent takes files by value, not by reference.")
    return part.data


def _text(part: FilePart) -> str:
    charset = _CHARSET.search(part.media_type)
    try:
        return decode(_content(part), charset[1] if charset else "utf-8")
    except (LookupError, UnicodeError) as exc:
        raise ContentTypeNotSupported(
            f"A file of type {_base_type(part)} is not text in the charset it names."
        ) from exc


def results_of(
    answers: Iterable[Answer], calls: Iterable[ToolCall], client_tools: Collection[str]
) -> list[Json]:
    """Return the results of tool calls; raises ``InvalidParams`` unless they are those waited for."""
    names = {call.call_id: call.tool_name for call in calls}
    given = {answer.call_id: answer for answer in answers}
    if unasked := given.keys() - names.keys():
        raise InvalidParams("message.parts", f"no tool call {min(unasked)} waits for a result")
    missing = {key for key, name in names.items() if name in client_tools} - given.keys()
    if missing:
        raise InvalidParams("message.parts", f"the tool call {min(missing)} has no result")
    return [
        {"call_id": key, "tool_name": names[key], "content": answer.content}
        for key, answer in given.items()
    ]
