"""Who fetches what callers name by its URL."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote_to_bytes

from agent.errors import InvalidParams

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.outgoing.fetch import Fetched

DATA = "data:"
"""What a URL begins with that has all of its content in it (RFC 2397)."""


class Fetch(Protocol):
    """Gets a URL, as ``agent.outgoing.fetch.Fetching`` does."""

    async def get(
        self,
        url: str,
        max_bytes: int,
        *,
        field: str = "url",
        count: Callable[[int], None] | None = None,
    ) -> Fetched:
        """Return what is there; raises ``InvalidParams`` about ``field``, and ``PayloadTooLarge``.

        ``count`` is told how many bytes come before they are kept, and may raise.
        """


def is_data(uri: str) -> bool:
    """Whether the content is in the URI itself."""
    return uri[: len(DATA)].lower() == DATA


def data_in(uri: str, path: str) -> bytes:
    """Return the content that is in a URI; raises ``InvalidParams`` about ``path``."""
    about, comma, data = uri[len(DATA) :].partition(",")
    if not comma:
        raise InvalidParams(path, "must be a data URL with a comma before its data")
    content = unquote_to_bytes(data)
    if not about.lower().endswith(";base64"):
        return content
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidParams(path, "must be base64, as it says") from exc
