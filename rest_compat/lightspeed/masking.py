"""What hides secrets that do not stand in settings of their own."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

MASK = "**********"
"""As pydantic writes secrets."""

_SHOWN_SOURCES = frozenset({"client", "kubernetes", "oauth"})


def masked(url: str) -> str:
    """Return a URL without its user and password, its query and its fragment, if there are any."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    _, at, host = parts.netloc.rpartition("@")
    return urlunsplit(
        (
            parts.scheme,
            f"{MASK}@{host}" if at else host,
            parts.path,
            parts.query and MASK,
            parts.fragment and MASK,
        )
    )


def masked_path(url: str) -> str:
    """Return a URL without its path, either: those of MCP servers often have a key in it."""
    try:
        parts = urlsplit(masked(url))
    except ValueError:
        return MASK
    path = f"/{MASK}" if parts.path.strip("/") else parts.path
    return urlunsplit(parts._replace(path=path))


def masked_json(value: Any) -> Any:
    """Return a JSON value whose texts that are URLs are masked."""
    if isinstance(value, dict):
        return {name: masked_json(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [masked_json(item) for item in value]
    if isinstance(value, str) and "://" in value and not any(char.isspace() for char in value):
        return masked(value)
    return value


def masked_source(source: str) -> str:
    """Return where a header's value comes from; a path is hidden, for it may be the value by mistake."""
    return source if source in _SHOWN_SOURCES else MASK
