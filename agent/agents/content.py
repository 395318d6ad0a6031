"""The messages of a turn <-> the parts of one A2A message.

Parts bear marks from which the messages are written again as they were sent. A message that came
over A2A has none: one text is its content, and several parts are a list of items.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import msgspec

from agent.conversation_turns import shown
from agent.errors import InvalidParams
from agent.model import Part
from agent.outgoing.data_url import DATA, is_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.agents.base import Json
    from agent.agents.urls import Contents
    from agent.model import Message

MARKS = "llama_stack"
"""Where the marks of a part are, in its metadata."""

_IMAGES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}
_WEBP = (b"RIFF", b"WEBP")


class _Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which message a part is of, and as what: a text, an item, one of a list.

    ``field`` is content, context, or document, which is no part of the message. ``call_id`` is that of a
    tool message; ``uri`` where an image was read, ``data:`` alone for one that had it all in it.
    """

    message: int = 0
    form: str = "text"
    field: str = "content"
    call_id: str | None = None
    uri: str | None = None


_AS_IS = _Mark()


class Reader:
    """Reads messages; the images that they name are taken from ``contents``, by their paths."""

    def __init__(self, contents: Contents) -> None:
        """Read nothing yet."""
        self._contents = contents

    def parts(self, messages: Sequence[Json]) -> list[Part]:
        """Return the parts of messages; raises ``InvalidParams`` with the path of what is wrong."""
        parts: list[Part] = []
        for number, message in enumerate(messages):
            call_id = message.get("call_id") if message.get("role") == "tool" else None
            for field in ("content", "context"):
                content = message.get(field)
                if content is None and field == "context":
                    continue
                mark = _Mark(message=number, field=field, call_id=call_id)
                path = f"messages.{number}.{field}"
                parts += self._content(content, mark, path)
        return parts

    def _content(self, content: Json, mark: _Mark, path: str) -> Iterator[Part]:
        if isinstance(content, str):
            yield _marked(Part(text=content), mark)
            return
        items = content if isinstance(content, list) else [content]
        form = "list" if isinstance(content, list) else "item"
        if not items:
            # A mark alone: there is nothing to be read.
            yield _marked(Part(text=""), msgspec.structs.replace(mark, form="empty"))
        for index, item in enumerate(items):
            place = f"{path}.{index}" if form == "list" else path
            yield self._item(item, msgspec.structs.replace(mark, form=form), place)

    def _item(self, item: Json, mark: _Mark, path: str) -> Part:
        match item:
            case {"type": "text", "text": str(text)}:
                return _marked(Part(text=text), mark)
            case {"type": "image", "image": {"url": {"uri": str(uri)}}}:
                data = self._contents.pop(path)
                mark = msgspec.structs.replace(mark, uri=DATA if is_data(uri) else uri)
                return _marked(_image(data, path), mark)
            case {"type": "image", "image": {"data": str(encoded)}}:
                return _marked(_image(_decoded(encoded, path), path), mark)
        raise InvalidParams(path, "must be a text, or an item of type text or image")


def document_part(raw: bytes, media_type: str, number: int) -> Part:
    """Return the part of a document; it is shown with the last message."""
    encoded = base64.b64encode(raw).decode()
    name = f"document-{number + 1}"
    mark = _Mark(field="document")
    return _marked(Part(raw=encoded, filename=name, media_type=media_type), mark)


def input_messages(message: Message) -> list[Json]:
    """Write what a turn began with; documents stand behind the last message, as Llama Stack has it."""
    marked = [(_mark_of(part), part) for part in message.parts]
    if not any((part.metadata or {}).get(MARKS) for part in message.parts):
        return [_unmarked(message.parts)]
    written: dict[int, dict[str, Json]] = {}
    for mark, part in marked:
        if mark.field != "document":
            fresh: dict[str, Json] = {"role": "user", "content": None, "context": None}
            if mark.call_id is not None:
                fresh = {"role": "tool", "call_id": mark.call_id, "content": None}
            said = written.setdefault(mark.message, fresh)
            said[mark.field] = _put(said.get(mark.field), mark, part)
    documents = [shown_file(part) for mark, part in marked if mark.field == "document"]
    messages = [written[number] for number in sorted(written)]
    if documents and messages:
        messages[-1]["content"] = _attached(messages[-1]["content"], "\n".join(documents))
    return messages


def _attached(content: Json, text: str) -> Json:
    if isinstance(content, str):
        return content + text
    items = content if isinstance(content, list) else [content]
    return [*items, {"type": "text", "text": text}]


def _put(content: Json, mark: _Mark, part: Part) -> Json:
    match mark.form:
        case "text":
            return part.text or ""
        case "empty":
            return []
        case "list":
            return [*(content or ()), _written(part, mark.uri)]
    return _written(part, mark.uri)


def _written(part: Part, uri: str | None) -> Json:
    if part.raw is not None and (part.media_type or "").startswith("image/"):
        if uri == DATA:
            uri = f"data:{part.media_type};base64,{part.raw}"
        url = None if uri is None else {"uri": uri}
        image = {"url": url, "data": None if uri is not None else part.raw}
        return {"type": "image", "image": image}
    return {"type": "text", "text": shown([part])}


def _unmarked(parts: Sequence[Part]) -> Json:
    only = parts[0].text if len(parts) == 1 else None
    content = only if only is not None else [_written(part, None) for part in parts]
    return {"role": "user", "content": content, "context": None}


def shown_file(part: Part) -> str:
    """Return the text of a document."""
    try:
        return base64.b64decode(part.raw or "").decode(errors="replace")
    except (binascii.Error, ValueError):
        return ""


def _image(data: bytes, path: str) -> Part:
    raw = base64.b64encode(data).decode()
    return Part(raw=raw, media_type=_image_type(data, path))


def _marked(part: Part, mark: _Mark) -> Part:
    if mark == _AS_IS:
        return part
    return msgspec.structs.replace(part, metadata={MARKS: msgspec.to_builtins(mark)})


def _mark_of(part: Part) -> _Mark:
    try:
        return msgspec.convert((part.metadata or {}).get(MARKS) or {}, _Mark)
    except msgspec.ValidationError:
        # Whoever speaks A2A may write there what they like.
        return _Mark()


def _decoded(text: str, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidParams(path, "must have base64 as the data of an image") from exc


def _image_type(data: bytes, path: str) -> str:
    """Return the media type of an image; what a server says of it may be anything."""
    for begin, media_type in _IMAGES.items():
        if data.startswith(begin):
            return media_type
    if data.startswith(_WEBP[0]) and data[8:12] == _WEBP[1]:
        return "image/webp"
    raise InvalidParams(path, "must be a PNG, JPEG, GIF or WebP image")


def size_of(parts: Sequence[Part]) -> int:
    """Return about how many bytes parts take."""
    return sum(len(part.text or part.raw or "") for part in parts)


def text_of(content: Json, path: str) -> str:
    """Return the text of a content; raises ``InvalidParams`` for what has none."""
    return "\n".join(_texts(content, path))


def _texts(content: Json, path: str) -> Iterator[str]:
    match content:
        case str():
            yield content
        case {"type": "text", "text": str(text)}:
            yield text
        case list():
            for index, item in enumerate(content):
                yield from _texts(item, f"{path}.{index}")
        case _:
            raise InvalidParams(path, "must be a text, or items of type text")
