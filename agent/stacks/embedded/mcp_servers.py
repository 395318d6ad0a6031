"""The tools of MCP servers. A connection is made for each listing and each call."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from agent.errors import StackTimeout, StackUnavailable
from agent.stacks.embedded.mcp_listings import Listings, McpTool
from agent.stacks.mcp_access import REFUSED, CredentialsNeeded, is_usable, refusal, repeats
from agent.stacks.mcp_headers import callers_headers, headers_of, is_left_out

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from mcp import Client

    from agent.settings.lcs import McpServer
    from agent.stacks.turn import Credentials, Json

TIMEOUT = 30.0
"""Seconds that a listing or a call may take where the settings say nothing."""

_SDK = ("mcp", "httpx2", "mcp.client.streamable_http")
_PAGES = 20  # of a listing


class Called(msgspec.Struct, frozen=True):
    """What a tool said; ``failed`` when it says so itself."""

    text: str
    failed: bool = False


class McpServers:
    """All servers of the settings, by name, and the tools that they were last seen with."""

    def __init__(self, servers: Sequence[McpServer]) -> None:
        """Connect to nothing."""
        self._servers = {server.name: server for server in servers}
        self._listings = Listings()

    def shown(self, credentials: Credentials) -> ShownServers:
        """Return the servers as somebody with these credentials sees them."""
        return ShownServers(self._servers, self._listings, credentials)


class ShownServers:
    """All servers, for one caller: what that one showed is shown to them, and nobody else's."""

    def __init__(
        self, servers: Mapping[str, McpServer], listings: Listings, credentials: Credentials
    ) -> None:
        """Connect to nothing."""
        self._servers = servers
        self._listings = listings
        self._credentials = credentials

    def __iter__(self) -> Iterator[str]:
        """Yield the names of those that the caller gave enough for."""
        for name, server in self._servers.items():
            if not is_left_out(server, self._credentials):
                yield name

    def __contains__(self, name: str) -> bool:
        """Tell whether there is a server of this name, for whomever."""
        return name in self._servers

    def is_usable(self, name: str) -> bool:
        """Tell whether the caller gave enough for a server; raises ``CredentialsNeeded``."""
        return is_usable(self._servers[name], self._credentials)

    def needed(self, name: str) -> CredentialsNeeded:
        """Return the error for a server that cannot do without what the caller did not give."""
        return CredentialsNeeded(self._servers[name])

    def wants_approval(self, name: str, tool: str) -> bool:
        """Tell whether a tool may be called only when the caller approves."""
        return self._servers[name].wants_approval(tool)

    async def tools(self, name: str) -> tuple[McpTool, ...]:
        """Return the tools of a server that this caller sees, listed a minute ago at most.

        Raises ``CredentialsNeeded`` and other ``StackError``s.
        """
        server = self._servers[name]
        given = callers_headers(server, self._credentials)
        return await self._listings.of(name, given, partial(self._list, server))

    async def call(self, name: str, tool: str, arguments: dict[str, Json]) -> Called:
        """Run a tool and return its text, also of a failure.

        Raises ``CredentialsNeeded`` and other ``StackError``s.
        """
        async with self._connected(self._servers[name]) as client:
            result = await client.call_tool(tool, arguments)
        texts = [_text(item) for item in result.content]
        if not texts and result.structured_content is not None:
            texts = [msgspec.json.encode(result.structured_content).decode()]
        return Called("\n".join(texts), bool(result.is_error))

    async def _list(self, server: McpServer) -> tuple[McpTool, ...]:
        tools: list[McpTool] = []
        cursor = None
        async with self._connected(server) as client:
            for _page in range(_PAGES):
                page = await client.list_tools(cursor=cursor)
                tools += (McpTool(t.name, t.description or "", t.input_schema) for t in page.tools)
                cursor = page.next_cursor
                if not cursor:
                    break
        return tuple(tools)

    @asynccontextmanager
    async def _connected(self, server: McpServer) -> AsyncIterator[Client]:
        # Importing takes more than a second, in which others want to be served.
        mcp, httpx2, transports = [await asyncio.to_thread(import_module, name) for name in _SDK]
        seconds = float(server.timeout or TIMEOUT)
        shown = await headers_of(server, self._credentials)
        headers = [(name.encode(), value.encode()) for name, value in shown.items()]
        answers: list[Any] = []

        async def note(response: Any) -> None:
            if response.request.method == "POST":
                answers[:] = [response]

        hooks = {"response": [note]}
        try:
            async with (
                asyncio.timeout(seconds),
                # Redirects are followed by the SDK, and only to the same origin.
                httpx2.AsyncClient(headers=headers, timeout=seconds, event_hooks=hooks) as http,
                mcp.Client(
                    transports.streamable_http_client(server.url, http_client=http),
                    read_timeout_seconds=seconds,
                ) as client,
            ):
                yield client
        # mostly in groups, for the SDK runs tasks of its own
        except (ExceptionGroup, mcp.MCPError, httpx2.HTTPError, OSError, RuntimeError) as exc:
            # for the log, which must not have what the server repeats
            cause = None if repeats(exc, shown.values()) else exc
            if answers and answers[0].status_code in REFUSED:
                raise refusal(server, answers[0].headers, shown) from cause
            if isinstance(exc, TimeoutError):
                message = f"The tool server {server.name} did not answer in time."
                raise StackTimeout(message) from cause
            raise StackUnavailable(f"The tool server {server.name} cannot be used.") from cause


def _text(item: Any) -> str:
    """Return the text of an item of a result; what is not text is named."""
    if item.type == "text":
        text: str = item.text
        return text
    return f"[{item.type}]"
