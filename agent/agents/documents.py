"""Documents that come with a turn -> parts of its message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.agents.content import document_part, text_of
from agent.errors import InvalidParams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.agents.base import Json
    from agent.agents.urls import Contents
    from agent.model import Part

_TYPES = frozenset({"application/json", "application/yaml"})


def check_types(documents: Sequence[Json]) -> None:
    """Raise ``InvalidParams`` for a document that no model can read."""
    for number, document in enumerate(documents):
        kind = str(document.get("mime_type", "")).partition(";")[0].strip().lower()
        if not kind.startswith("text/") and kind not in _TYPES:
            path = f"documents.{number}.mime_type"
            raise InvalidParams(path, "must be text/*, application/json or application/yaml")


def parts_of(documents: Sequence[Json], contents: Contents, file_bytes: int) -> list[Part]:
    """Return a part for each document; what they name is taken from ``contents``, by their paths.

    Raises ``InvalidParams`` with the path of what is wrong, as a document of more than ``file_bytes``.
    """
    parts: list[Part] = []
    for number, document in enumerate(documents):
        path = f"documents.{number}.content"
        content = document.get("content")
        data = contents.pop(path, None)
        if data is None:
            data = text_of(content, path).encode()
        if len(data) > file_bytes:
            raise InvalidParams(path, f"is larger than {file_bytes} bytes")
        # What is not UTF-8 says so itself: the type is passed on as it was given.
        parts.append(document_part(data, str(document.get("mime_type", "")), number))
    return parts
