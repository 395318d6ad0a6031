"""What a query and its items may be: texts, and parts of a content as OpenAI and Llama Stack have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import InvalidParams
from agent.metering import CHARACTERS, FILE_TOKENS

if TYPE_CHECKING:
    from agent.stacks import Json

_IMAGES = ("image", "image_url")


def text_of(content: Json, field: str) -> str:
    """Return the text; raises ``InvalidParams``, naming ``field``, for an image or what is no content."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        if content.get("type") in _IMAGES:
            raise InvalidParams(
                field, "is an image, and only a reranker of Llama Stack ranks images"
            )
        text = content.get("text")
        if isinstance(text, str) and content.get("type", "text") == "text":
            return text
    raise InvalidParams(field, "must be a text, or a content part with a text")


def said(content: Json) -> str:
    """Return what is counted of a content; an image is as long as its tokens."""
    if isinstance(content, dict):
        content = content.get("text", " " * (FILE_TOKENS * CHARACTERS))
    return content if isinstance(content, str) else ""


def check_images(content: Json, field: str) -> None:
    """Raise ``InvalidParams`` for an image that is not there by value.

    Whoever serves the model would fetch what a URL names, and callers must not send it places.
    """
    if not isinstance(content, dict) or content.get("type") not in _IMAGES:
        return
    if not all(url.startswith("data:image/") for url in _urls(content)):
        raise InvalidParams(field, "must hold its image as a data: URL")


def _urls(content: Json) -> list[str]:
    """Return all that may be taken for a URL in an image, however deep it is."""
    if not isinstance(content, dict):
        return []
    found: list[str] = []
    for key, value in content.items():
        is_url = key in ("url", "uri", "image_url") and isinstance(value, str)
        found += [value] if is_url else _urls(value)
    return found
