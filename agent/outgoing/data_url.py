"""URLs that have their content in them: ``data:`` (RFC 2397)."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from agent.errors import InvalidParams

DATA = "data:"
"""What such a URL begins with."""


class DataUrl(NamedTuple):
    """What a URL holds; ``media_type`` is as it was written, without parameters, and may be empty."""

    content: bytes
    media_type: str


def is_data(url: str) -> bool:
    """Whether the content is in the URL itself."""
    return url[: len(DATA)].lower() == DATA


def read_data(url: str, field: str) -> DataUrl:
    """Return what a URL holds; raises ``InvalidParams`` about ``field``."""
    about, comma, written = url[len(DATA) :].partition(",")
    if not comma:
        raise InvalidParams(field, "must be a data URL with a comma before its data")
    media_type = about.partition(";")[0].strip()
    content = unquote_to_bytes(written)
    if not about.lower().endswith(";base64"):
        return DataUrl(content, media_type)
    try:
        # Lines may be broken within it.
        decoded = base64.b64decode(b"".join(content.split()), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidParams(field, "must be base64, as it says") from exc
    return DataUrl(decoded, media_type)
