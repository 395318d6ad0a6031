"""A2A parts <-> the parts of a stack."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from agent import model, stacks
from agent.errors import InvalidParams

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

OCTETS = "application/octet-stream"
JSON = "application/json"
TEXT = "text/plain"

_TITLES, _TITLE = 10, 200  # how many artifacts a note names, and in how many characters


def read_parts(parts: Sequence[model.Part], *, file_bytes: int) -> tuple[stacks.Part, ...]:
    """Return what the user sent, as a stack takes it; ``file_bytes`` bounds one file.

    Raises ``InvalidParams`` with the path of the part.
    """
    return tuple(
        _read_part(part, f"message.parts[{index}]", file_bytes) for index, part in enumerate(parts)
    )


def write_parts(parts: Iterable[stacks.Part]) -> list[model.Part]:
    """Return what a stack made, as A2A says it."""
    return [_write_part(part) for part in parts]


def reference_parts(tasks: Sequence[model.Task], limit_bytes: int) -> tuple[stacks.Part, ...]:
    """Return what earlier tasks made, for a turn that refers to them.

    Each artifact is a text that begins with a line naming it and its task, then its data and files.
    What goes beyond ``limit_bytes`` is cut off or left out; the last text says so.
    """
    given: list[stacks.Part] = []
    cut: dict[str, None] = {}  # for its order
    room = limit_bytes
    for task in tasks:
        for artifact in task.artifacts:
            title = f"Task {task.id}, artifact {artifact.name or artifact.artifact_id}"
            for part in _of_artifact(title, artifact):
                size = _size(part)
                if size > room:
                    cut[title[:_TITLE]] = None
                if size <= room:
                    given.append(part)
                    room -= size
                elif room and isinstance(part, stacks.TextPart):
                    shown = part.text.encode()[:room].decode(errors="ignore")
                    given.append(stacks.TextPart(shown))
                    room = 0
    if cut:
        more = [f"{len(cut) - _TITLES} more"] if len(cut) > _TITLES else []
        names = "; ".join([*list(cut)[:_TITLES], *more])
        given.append(
            stacks.TextPart(f"[More than {limit_bytes} bytes, so cut off or left out: {names}]")
        )
    return tuple(given)


def accepted(media_type: str, modes: Sequence[str]) -> bool:
    """Whether one of ``modes`` takes ``media_type``; no modes take all.

    ``text/*``, ``*/*``, and ``text`` and ``*`` as older clients write them, are understood.
    """
    if not modes or media_type in modes:
        return True
    kind = media_type.partition(";")[0].strip().lower()
    family = kind.partition("/")[0]
    wanted = {mode.partition(";")[0].strip().lower() for mode in modes}
    return not wanted.isdisjoint({kind, f"{family}/*", family, "*/*", "*"})


def _of_artifact(title: str, artifact: model.Artifact) -> Iterator[stacks.Part]:
    """Yield the text of an artifact under its title, then the rest; a file elsewhere is only named."""
    text = "".join(part.text for part in artifact.parts if part.text is not None)
    lines = [f"{title}:", text] if text else [f"{title}:"]
    lines += [f"File {part.filename or ''} at {part.url}" for part in artifact.parts if part.url]
    yield stacks.TextPart("\n".join(lines))
    for part in artifact.parts:
        if part.data is not UNSET:
            yield stacks.DataPart(part.data, part.media_type or JSON)
        elif part.raw is not None:
            content = _decode(part.raw, "artifact")
            yield stacks.FilePart(part.filename, part.media_type or OCTETS, data=content)


def _size(part: stacks.Part) -> int:
    match part:
        case stacks.TextPart(text):
            return len(text.encode())
        case stacks.DataPart(data):
            return len(msgspec.json.encode(data))
        case stacks.FilePart():
            return len(part.data or b"")


def _read_part(part: model.Part, path: str, file_bytes: int) -> stacks.Part:
    contents = (part.text is not None, part.raw is not None, part.url is not None)
    if sum(contents) + (part.data is not UNSET) != 1:
        raise InvalidParams(path, "must have exactly one of text, raw, url and data")
    if part.text is not None:
        return stacks.TextPart(part.text)
    if part.data is not UNSET:
        return stacks.DataPart(part.data, part.media_type or JSON)
    media_type = part.media_type or OCTETS
    if part.raw is not None:
        content = _decode(part.raw, path)
        if len(content) > file_bytes:
            raise InvalidParams(path, f"is larger than {file_bytes} bytes")
        return stacks.FilePart(part.filename, media_type, data=content)
    url = part.url or ""
    if not url.startswith(("https://", "http://")):
        raise InvalidParams(path, "must be an http or https URL")
    return stacks.FilePart(part.filename, media_type, uri=url)


def _decode(text: str, path: str) -> bytes:
    # ProtoJSON takes the standard and the URL-safe alphabet, with or without padding.
    standard = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidParams(path, "must be base64") from exc


def _write_part(part: stacks.Part) -> model.Part:
    match part:
        case stacks.TextPart(text):
            return model.Part(text=text)
        case stacks.DataPart(data, media_type):
            return model.Part(data=data, media_type=media_type)
        case stacks.FilePart(name, media_type, data, uri):
            raw = None if data is None else base64.b64encode(data).decode()
            return model.Part(raw=raw, url=uri, filename=name, media_type=media_type)
