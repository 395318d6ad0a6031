"""From the parts of a message to what a turn of Llama Stack's agents API takes."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import msgspec

from agent.errors import ContentTypeNotSupported
from agent.stacks.charset import decode
from agent.stacks.turn import DataPart, FilePart, Json, Part, TextPart

if TYPE_CHECKING:
    from collections.abc import Sequence

_DOCUMENTS = ("application/json", "application/yaml")
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)


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
