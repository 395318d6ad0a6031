"""The HTTP client of the commands: it shows the token to one server only, and says what that refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import httpx

from agent.cli.credentials import TOKEN, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

type _Origin = tuple[str, str, int | None]

BODY_BYTES = 64 * 1024
TEXT_CHARS = 500
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SAID = {
    401: "The agent does not know you",
    403: "The agent does not allow this",
    429: "The agent wants you to wait",
}


class RefusedError(Exception):
    """What a server refused, for whoever asked."""


class Bearer(httpx.Auth):
    """Shows a token to the server that it is for.

    The card of an agent says where its interfaces are; who writes cards could have tokens sent anywhere.
    """

    def __init__(self, shown: str, url: str) -> None:
        """``url`` is what the user named."""
        self._shown = shown
        self._url = httpx.URL(url)
        self._told: set[_Origin] = set()
        if self._url.scheme == "http" and self._url.host not in _LOOPBACK:
            click.echo(f"The token is sent over plain HTTP to {self._url.host}", err=True)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        """Add the header, or say that it is not added."""
        origin = _origin(request.url)
        if origin == _origin(self._url):
            request.headers["Authorization"] = f"Bearer {self._shown}"
        elif origin not in self._told:
            self._told.add(origin)
            where = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
            click.echo(f"The token is not shown to another server: {where}", err=True)
        yield request


def http_client(url: str, **options: Any) -> httpx.AsyncClient:
    """Return a client for the agent at ``url``; it raises ``RefusedError`` for 401, 403 and 429."""
    shown = token()

    async def check(response: httpx.Response) -> None:
        if response.status_code in _SAID:
            raise RefusedError(await _refusal(response, has_token=shown is not None))

    hooks = {"response": [check, *options.pop("on_response", ())]}
    try:
        auth = None if shown is None else Bearer(shown, url)
    except httpx.InvalidURL as exc:
        raise click.BadParameter("is no URL", param_hint="URL") from exc
    return httpx.AsyncClient(auth=auth, event_hooks=hooks, **options)


async def _refusal(response: httpx.Response, *, has_token: bool) -> str:
    said = _SAID[response.status_code]
    if reason := _reason(await _start(response)):
        said = f"{said}: {reason}"
    if response.status_code == httpx.codes.UNAUTHORIZED and not has_token:
        said = f"{said} (show a token with {TOKEN} or --token-file)"
    wait = response.headers.get("retry-after", "")
    if not wait.isdecimal() or f"in {wait} seconds" in said:
        return said
    return f"{said} (try again in {wait} seconds)"


async def _start(response: httpx.Response) -> bytes:
    chunks: AsyncIterator[bytes] = response.aiter_bytes()
    body = b""
    async for chunk in chunks:
        body += chunk
        if len(body) > BODY_BYTES:
            break
    return body


def _reason(body: bytes) -> str:
    """Return what JSON-RPC or google.rpc.Status says, in one line that a terminal can show."""
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    if not isinstance(message, str):
        return ""
    return "".join(char if char.isprintable() else " " for char in message[:TEXT_CHARS]).strip()


def _origin(url: httpx.URL) -> _Origin:
    ports = {"http": 80, "https": 443}
    # This machine has several names, and cards name another one than users do.
    host = "localhost" if url.host in _LOOPBACK else url.host
    return url.scheme, host, url.port or ports.get(url.scheme)
