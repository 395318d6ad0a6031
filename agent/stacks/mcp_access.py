"""Whether MCP servers accept what they are shown, and how a caller is told that one does not."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import httpx

from agent.errors import StackError, StackUnavailable
from agent.stacks.mcp_headers import headers_of
from agent.stacks.turn import AuthRequired

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.settings.lcs import McpServer

_REFUSED = (401, 403)
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
    """A tool server does not accept the credentials of this agent."""

    def __init__(self, server: McpServer) -> None:
        """Name the server, and nothing that it was shown."""
        self.server = server
        super().__init__(f"The tool server {server.name} does not accept this agent's credentials.")

    @property
    def event(self) -> AuthRequired:
        """What the caller is told; a URL may hold credentials too, which are left out."""
        url = urlsplit(self.server.url)
        where = urlunsplit((url.scheme, url.netloc.rpartition("@")[2], url.path, "", ""))
        return AuthRequired(
            f"{self.message} Send a message when that is settled: the turn is tried again.",
            {"type": "auth", "server": self.server.name, "url": where},
        )


async def refusing(servers: Iterable[McpServer]) -> CredentialsNeeded | None:
    """Find a server that refuses this agent, by asking; None when none does or none can be reached.

    For stacks that run tools elsewhere and do not say why that failed.
    """
    for server in servers:
        try:
            headers = {"Accept": "application/json, text/event-stream", **await headers_of(server)}
            async with (
                httpx.AsyncClient(timeout=_SECONDS) as http,
                http.stream("POST", server.url, json=_HELLO, headers=headers) as answer,
            ):
                if answer.status_code in _REFUSED:
                    return CredentialsNeeded(server)
        except (StackError, httpx.HTTPError, httpx.InvalidURL, ValueError):
            continue
    return None
