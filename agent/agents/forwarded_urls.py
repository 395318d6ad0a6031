"""What a turn names by its URL is put in its place: a Llama Stack would call any host that it can reach."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.agents.base import Json
    from agent.agents.urls import Contents


def inlined(value: Json, contents: Contents, path: str = "") -> Json:
    """Return a body without the URIs of images and documents: ``contents`` has them by their paths."""
    match value:
        case {"type": "image", "image": {"url": {"uri": str()}}}:
            data = base64.b64encode(contents.pop(path)).decode()
            return {"type": "image", "image": {"data": data}}
        case {"content": {"uri": str()}}:
            content = contents.pop(f"{path}.content").decode(errors="replace")
            return value | {"content": content}
        case list():
            return [
                inlined(each, contents, f"{path}.{number}") for number, each in enumerate(value)
            ]
        case dict():
            return {
                name: inlined(each, contents, f"{path}.{name}" if path else name)
                for name, each in value.items()
            }
    return value
