"""How the log names a server that cannot be asked, and why: with nothing in it that is secret."""

from __future__ import annotations

from urllib.parse import urlsplit


def server_of(url: str) -> str:
    """Return scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def reason_of(error: BaseException) -> str:
    """Return the kind of failure in one line.

    What an HTTP client says is passed on only where it made no connection: later it may quote headers.
    """
    import httpx

    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpx.ConnectError):
        return " ".join(str(error).split()) or "no connection"
    if isinstance(error, httpx.HTTPError | httpx.InvalidURL | OSError):
        return type(error).__name__
    return str(error)
