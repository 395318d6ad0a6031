"""What is said in a conversation, and how it is stored: as the agents API of Llama Stack has it."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import msgspec

from agent.errors import ContentTypeNotSupported
from agent.stacks.charset import decode
from agent.stacks.turn import DataPart, FilePart, Json, Part, TextPart

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TEXTS = frozenset(
    {"application/json", "application/yaml", "application/x-yaml", "application/xml"}
)
_TEXT_SUFFIXES = ("+json", "+yaml", "+xml")
_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)
_INDENTED = 20_000  # bytes; larger data stays as it is


class Attachment(msgspec.Struct, frozen=True):
    """A text that came with a message: a file or data."""

    name: str
    text: str


class ToolCall(msgspec.Struct, frozen=True):
    """A tool that the model wants to be run; ``arguments`` is JSON as the model wrote it."""

    call_id: str
    tool_name: str
    arguments: str


class UserMessage(msgspec.Struct, frozen=True):
    """What the user said; ``images`` are data URLs."""

    text: str
    attachments: tuple[Attachment, ...] = ()
    images: tuple[str, ...] = ()


class ModelMessage(msgspec.Struct, frozen=True):
    """What the model said; with ``tool_calls`` it waits for their results."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    stop_reason: str = "end_of_turn"


class ToolMessage(msgspec.Struct, frozen=True):
    """What a tool call came to."""

    call_id: str
    tool_name: str
    content: str


type Message = UserMessage | ModelMessage | ToolMessage


def message_of(parts: Sequence[Part]) -> UserMessage:
    """Read the parts of a message; raises ``ContentTypeNotSupported``."""
    texts: list[str] = []
    attachments: list[Attachment] = []
    images: list[str] = []
    for part in parts:
        match part:
            case TextPart():
                texts.append(part.text)
            case DataPart():
                attachments.append(Attachment("data.json", _pretty(part.data)))
            case FilePart():
                media_type = part.media_type.partition(";")[0].strip().lower()
                data = _content(part, media_type)
                if media_type in _IMAGES:
                    images.append(f"data:{media_type};base64,{base64.b64encode(data).decode()}")
                else:
                    attachments.append(_attachment(part, media_type, data))
    return UserMessage("\n\n".join(texts), tuple(attachments), tuple(images))


def _content(part: FilePart, media_type: str) -> bytes:
    is_text = media_type.startswith("text/") or media_type in _TEXTS
    if not is_text and media_type not in _IMAGES and not media_type.endswith(_TEXT_SUFFIXES):
        raise ContentTypeNotSupported(f"The media type {media_type} is not supported.")
    if part.data is None:
        raise ContentTypeNotSupported(
            f"A file of type {media_type} must be sent by value: this agent does not fetch it."
        )
    return part.data


def _attachment(part: FilePart, media_type: str, data: bytes) -> Attachment:
    charset = _CHARSET.search(part.media_type)
    try:
        text = decode(data, charset[1] if charset else "utf-8-sig")
    except (LookupError, UnicodeError) as exc:
        raise ContentTypeNotSupported(
            f"A file of type {media_type} is not text in the charset it names."
        ) from exc
    return Attachment(part.name or f"file.{_SUFFIXES.get(media_type, 'txt')}", text)


_SUFFIXES = {
    "text/markdown": "md",
    "text/html": "html",
    "application/json": "json",
    "application/yaml": "yaml",
}


def _pretty(value: Json) -> str:
    encoded = msgspec.json.encode(value)
    # Deep data becomes a hundred times as long when it is indented.
    return (msgspec.json.format(encoded) if len(encoded) <= _INDENTED else encoded).decode()


def to_input(message: UserMessage) -> Json:
    """Write a message as it is stored: attachments are its context."""
    content: Json = message.text
    if message.images:
        content = [{"type": "text", "text": message.text}] if message.text else []
        content += [{"type": "image", "image": {"url": {"uri": uri}}} for uri in message.images]
    context = [
        {"type": "text", "text": f"{attachment.name}\n\n{attachment.text}"}
        for attachment in message.attachments
    ]
    return {"role": "user", "content": content, "context": context or None}


def from_input(stored: Json) -> UserMessage:
    """Read what ``to_input`` wrote."""
    content = stored["content"]
    items: list[Json] = (
        content if isinstance(content, list) else [{"type": "text", "text": content}]
    )
    attachments = []
    for item in stored.get("context") or ():
        name, _, text = item["text"].partition("\n\n")
        attachments.append(Attachment(name, text))
    return UserMessage(
        "\n\n".join(item["text"] for item in items if item["type"] == "text"),
        tuple(attachments),
        tuple(item["image"]["url"]["uri"] for item in items if item["type"] == "image"),
    )


def arguments_of(call: ToolCall) -> dict[str, Json] | None:
    """Return the arguments of a call; None when they are not a JSON object."""
    try:
        value = msgspec.json.decode(call.arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def size_of(messages: Iterable[Message]) -> int:
    """Estimate the size in characters; an image counts as ``IMAGE_CHARS``."""
    size = 0
    for message in messages:
        match message:
            case UserMessage():
                size += len(message.text) + IMAGE_CHARS * len(message.images)
                size += sum(len(attachment.text) for attachment in message.attachments)
            case ModelMessage():
                size += len(message.text)
                size += sum(len(call.arguments) for call in message.tool_calls)
            case ToolMessage():
                size += len(message.content)
    return size


IMAGE_CHARS = 4000
"""What an image counts for, in characters: about a thousand tokens."""
CHARS_PER_TOKEN = 4
"""A rule of thumb for English text, where nobody counts the tokens."""


def tokens(characters: int) -> int:
    """Estimate how many tokens a number of characters is, rounded up."""
    return -(-characters // CHARS_PER_TOKEN)
