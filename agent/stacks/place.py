"""Where a Llama Stack is: at a URL, or at a socket of this machine."""

from __future__ import annotations

import httpx

UNIX = "unix:"
"""Before the path of a socket, where else the URL of a Llama Stack stands."""


def place_of(
    url: str | None, limits: httpx.Limits | None = None
) -> tuple[str, httpx.AsyncBaseTransport | None]:
    """Return the base of URLs, and what else than a connection to their host takes requests there."""
    if not url or not url.startswith(UNIX):
        return url or "", None
    socket = url.removeprefix(UNIX)
    return "http://llama-stack", httpx.AsyncHTTPTransport(
        uds=socket, limits=limits or httpx.Limits()
    )
