"""Whether MCP servers accept what they are shown, and how a caller is told that one does not."""

from __future__ import annotations

import asyncio
import logging
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import httpx

from agent.errors import StackError, StackUnavailable, TurnFailed
from agent.stacks.mcp_headers import (
    CLIENT,
    OAUTH,
    callers_headers,
    headers_of,
    is_left_out,
    is_lost,
    secrets_of,
    takes,
)
from agent.stacks.turn import AuthRequired

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agent.settings.lcs import McpServer
    from agent.stacks.turn import Credentials

logger = logging.getLogger(__name__)

REFUSED = (401, 403)
CHALLENGE = "WWW-Authenticate"
CHALLENGE_CHARS = 1024

_SECRET_CHARS = 16
"""What is as long as this between the slashes of a URL is taken for a secret."""

_SECONDS = 5.0
_HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "llamastack-a2a", "version": "1"},
    },
}


class CredentialsNeeded(StackUnavailable):
    """A tool server does not accept the credentials that it is shown.

    ``challenge`` is what the server wants instead, as it says in WWW-Authenticate; often nothing.
    """

    def __init__(self, server: McpServer, challenge: str = "", message: str | None = None) -> None:
        """Name the server, and nothing that it was shown."""
        self.server = server
        self.challenge = challenge
        super().__init__(message or self._said)

    @property
    def _said(self) -> str:
        if takes(self.server):
            return f"The tool server {self.server.name} wants credentials of yours."
        return f"The tool server {self.server.name} does not accept this agent's credentials."

    @property
    def event(self) -> AuthRequired:
        """What the caller is told; of the URL only where it begins, for the rest may be a secret."""
        url = urlsplit(self.server.url)
        where = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
        data = {"type": "auth", "server": self.server.name, "url": where}
        if self.challenge:
            data["www_authenticate"] = self.challenge
        how = "Send a message when that is settled"
        if takes(self.server, CLIENT, OAUTH):
            how = "Send a message with them in MCP-HEADERS"
        return AuthRequired(f"{self.message} {how}: the turn is tried again.", data)


def refusal(
    server: McpServer, said: Mapping[str, str], shown: Mapping[str, str]
) -> CredentialsNeeded:
    """Return the error for a server that refuses what it was ``shown``; ``said`` are its headers.

    What it says is not passed on when it repeats a secret.
    """
    challenge = said.get(CHALLENGE, "")
    url = urlsplit(server.url)
    secrets = {url.password or "", url.query, *(value for _, value in parse_qsl(url.query))}
    secrets |= {part for part in url.path.split("/") if len(part) >= _SECRET_CHARS}
    for value in shown.values():
        secrets |= {value, value.rpartition(" ")[2]}
    if any(secret in challenge for secret in secrets if secret):
        challenge = ""
    cleaned = "".join(filter(str.isprintable, challenge))
    return CredentialsNeeded(server, cleaned[:CHALLENGE_CHARS])


@contextmanager
def forgetting(shown: Iterable[str]) -> Iterator[None]:
    """Keep what servers were ``shown`` out of the log: a cause that repeats any of it is forgotten."""
    try:
        yield
    except StackError as exc:
        if repeats(exc, shown):
            raise exc from None
        raise


def repeats(exc: BaseException, shown: Iterable[str]) -> bool:
    """Tell whether the text of an exception, as a log has it, repeats what servers were ``shown``."""
    secrets = {part for value in shown for part in (value, value.rpartition(" ")[2])}
    if not secrets:
        return False
    text = "".join(traceback.format_exception(exc))
    return any(secret in text for secret in secrets)


def is_usable(server: McpServer, credentials: Credentials) -> bool:
    """Tell whether the caller of a turn gave what a server wants; the log has those that are left out.

    Raises ``CredentialsNeeded`` for what the caller had given, but a turn that runs again has not.
    """
    if is_lost(server, credentials):
        message = (
            "The turn had to begin again, and what you sent with it for the tool server "
            f"{server.name} is not kept."
        )
        raise CredentialsNeeded(server, message=message)
    if is_left_out(server, credentials):
        logger.warning("Tools of %s are left out of a turn: no credentials came", server.name)
        return False
    return True


async def usable(servers: Iterable[McpServer], credentials: Credentials) -> list[McpServer]:
    """Return the servers that the caller of a turn can use, for stacks that run tools elsewhere.

    One whose file with credentials cannot be read now is left out, as LCS does. Raises
    ``CredentialsNeeded``, also for one that wants an OAuth token which did not come.
    """
    found = [
        server
        for server in servers
        if is_usable(server, credentials) and await _is_readable(server)
    ]
    asked = [server for server in found if _has_no_token(server, credentials)]
    if asked and (needed := await refusing(asked, credentials)):
        raise needed
    return found


async def refusing(
    servers: Iterable[McpServer], credentials: Credentials
) -> CredentialsNeeded | None:
    """Find a server that refuses, by asking; None when none does or none can be reached.

    For stacks that run tools elsewhere and do not say why that failed. All are asked at once, and the
    first in order counts. Redirects are not followed.
    """
    async with httpx.AsyncClient(timeout=_SECONDS) as http:
        asked = [
            _refuses(http, server, credentials)
            for server in servers
            if not is_left_out(server, credentials)
        ]
        answers = await asyncio.gather(*asked)
    return next((needed for needed in answers if needed is not None), None)


async def _refuses(
    http: httpx.AsyncClient, server: McpServer, credentials: Credentials
) -> CredentialsNeeded | None:
    try:
        shown = await headers_of(server, credentials)
        headers = [(name.encode(), value.encode()) for name, value in shown.items()]
        headers.append((b"Accept", b"application/json, text/event-stream"))
        async with http.stream("POST", server.url, json=_HELLO, headers=headers) as answer:
            refuses = answer.status_code in REFUSED
            return refusal(server, answer.headers, shown) if refuses else None
    except (StackError, httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None


async def _is_readable(server: McpServer) -> bool:
    try:
        await secrets_of(server)
    except TurnFailed as exc:
        logger.warning("Tools of %s are left out of a turn: %s", server.name, exc.message)
        return False
    return True


def _has_no_token(server: McpServer, credentials: Credentials) -> bool:
    given = callers_headers(server, credentials)
    return any(
        source == OAUTH and header not in given
        for header, source in server.authorization_headers.items()
    )
