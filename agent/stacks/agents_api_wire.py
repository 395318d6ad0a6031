"""What Llama Stack's agents API sends, as far as it is read here (0.3.5).

Everything has a default: the server leaves fields out, sends null for them, and adds others.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from agent.errors import InvalidAgentResponse
from agent.stacks.turn import FilePart, Json

_IMAGES = {"/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}


class ToolCall(msgspec.Struct):
    """A call that the model asks for; ``arguments`` is a JSON text, on older servers an object."""

    call_id: str = ""
    tool_name: str = ""
    arguments: Json = None


class ToolResponse(msgspec.Struct):
    """What a tool answered; ``content`` is a text, an item or a list of items."""

    call_id: str = ""
    tool_name: str = ""
    content: Json = None
    metadata: dict[str, Json] | None = None


class Message(msgspec.Struct):
    """What the model said."""

    content: Json = None
    stop_reason: str | None = None
    tool_calls: list[ToolCall] | None = None


class Violation(msgspec.Struct):
    """Why a shield objects; ``user_message`` is written for the user."""

    violation_level: str = ""
    user_message: str | None = None
    metadata: dict[str, Json] | None = None


class StepDetails(msgspec.Struct):
    """A finished step; which fields are set depends on its kind."""

    turn_id: str | None = None
    model_response: Message | None = None
    tool_calls: list[ToolCall] | None = None
    tool_responses: list[ToolResponse] | None = None
    violation: Violation | None = None


class Attachment(msgspec.Struct):
    """A file that the turn made; ``content`` is a text, an item, a list of items or a URL."""

    content: Json = None
    mime_type: str = "application/octet-stream"


class Given(msgspec.Struct):
    """What a turn was given: a message of the user, or what a tool answered."""

    role: str = ""
    content: Json = None


class Turn(msgspec.Struct):
    """A finished turn, or one that waits for the results of tool calls."""

    turn_id: str
    output_message: Message
    input_messages: list[Given] | None = None
    output_attachments: list[Attachment] | None = None


class Session(msgspec.Struct):
    """A session with its turns, the oldest first; a new one has none."""

    session_id: str
    turns: list[Turn] = []


class Delta(msgspec.Struct):
    """What a step adds; ``tool_call`` is a fragment of text or the whole call."""

    type: str = ""
    text: str | None = None
    tool_call: Json = None


class Payload(msgspec.Struct):
    """One event; ``event_type`` says which of the other fields are set."""

    event_type: str
    step_type: str = ""
    metadata: dict[str, Json] | None = None
    delta: Delta | None = None
    step_details: StepDetails | None = None
    turn: Turn | None = None


class Event(msgspec.Struct):
    """The wrapper of the payload."""

    payload: Payload


class Chunk(msgspec.Struct):
    """One ``data:`` of the stream: an event, or the error that ended the turn."""

    event: Event | None = None
    error: Json = None


def read[T](wire: Json, shape: type[T]) -> T:
    """Read decoded JSON as ``shape``; raises ``InvalidAgentResponse``."""
    try:
        return msgspec.convert(wire, shape)
    except msgspec.ValidationError as exc:
        raise InvalidAgentResponse from exc


def arguments(call: ToolCall) -> Json:
    """Return the arguments as JSON when they are JSON, else the text of the model."""
    if not isinstance(call.arguments, str):
        return call.arguments
    try:
        return msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        return call.arguments


def items(content: Json) -> list[Json]:
    """Return content, whatever its shape, as the list of its items and texts."""
    if content is None:
        return []
    return content if isinstance(content, list) else [content]


def text_of(content: Json) -> str:
    """Return the text of content, whatever its shape; images have none."""
    return "".join(
        item if isinstance(item, str) else str(item.get("text") or "")
        for item in items(content)
        if isinstance(item, str | dict)
    )


def files_of(content: Json, media_type: str, *, texts: bool) -> list[FilePart]:
    """Return the files in content: its images and URLs, and its texts too when ``texts``."""
    found = (_file(item, media_type, texts=texts) for item in items(content))
    return [file for file in found if file]


def _file(item: Json, media_type: str, *, texts: bool) -> FilePart | None:
    if isinstance(item, str):
        item = {"text": item}
    if not isinstance(item, dict):
        return None
    if texts and isinstance(item.get("text"), str):
        return FilePart(None, media_type, data=item["text"].encode())
    image = item.get("image")
    if not isinstance(image, dict):
        return _linked(item, media_type)
    if isinstance(image.get("data"), str):
        return FilePart(None, _image_type(image["data"]), data=_base64(image["data"]))
    return _linked(image.get("url"), "image/png")


def _linked(url: Json, media_type: str) -> FilePart | None:
    """Return a file by reference; paths on the server's disk are of no use to anybody else."""
    uri = url.get("uri") if isinstance(url, dict) else None
    if not isinstance(uri, str) or not uri.startswith(("http://", "https://")):
        return None
    return FilePart(None, media_type, uri=uri)


def _image_type(encoded: str) -> str:
    """Tell the type by how the base64 begins: nothing on the wire says it."""
    for start, media_type in _IMAGES.items():
        if encoded.startswith(start):
            return media_type
    return "image/png"


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise InvalidAgentResponse from exc
