"""The tools of MCP servers. A connection is made for each listing and each call."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agent.errors import SettingsError, StackTimeout, StackUnavailable
from agent.stacks.mcp_access import CredentialsNeeded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from mcp import Client

    from agent.settings.lcs import McpServer
    from agent.stacks.turn import Json

TIMEOUT = 30.0
"""Seconds that a listing or a call may take where the settings say nothing."""

_KEEP_SECONDS = 60.0  # how long the tools of a server are taken to be the same
_SDK = ("mcp", "httpx2", "mcp.client.streamable_http")
_PAGES = 20  # of a listing
_CALLERS_TOKENS = ("client", "kubernetes", "oauth")
_REFUSED = (401, 403)


class McpTool(msgspec.Struct, frozen=True):
    """A tool of a server."""

    name: str
    description: str
    input_schema: Json


class McpServers:
    """All servers of the settings, by name."""

    def __init__(self, servers: Sequence[McpServer]) -> None:
        """Connect to nothing."""
        self._servers = {server.name: server for server in servers}
        self._listed: dict[str, tuple[float, tuple[McpTool, ...]]] = {}
        self._listing: dict[str, asyncio.Lock] = {server.name: asyncio.Lock() for server in servers}

    def check(self) -> None:
        """Raise ``SettingsError`` for headers with a token of the caller's: none comes here."""
        for index, server in enumerate(self._servers.values()):
            for header, source in server.authorization_headers.items():
                if source in _CALLERS_TOKENS:
                    raise SettingsError(
                        f"mcp_servers[{index}].authorization_headers.{header}",
                        f"{source} is not supported here; give the path of a file",
                    )

    def wants_approval(self, name: str, tool: str) -> bool:
        """Tell whether a tool may be called only when the caller approves."""
        return self._servers[name].wants_approval(tool)

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._servers)

    def __contains__(self, name: str) -> bool:
        """Tell whether there is a server of this name."""
        return name in self._servers

    async def tools(self, name: str) -> tuple[McpTool, ...]:
        """Return the tools of a server, listed a minute ago at most.

        Raises ``CredentialsNeeded`` and other ``StackError``s.
        """
        async with self._listing[name]:
            listed_at, known = self._listed.get(name, (-_KEEP_SECONDS, ()))
            if time.monotonic() - listed_at < _KEEP_SECONDS:
                return known
            async with self._connected(self._servers[name]) as client:
                tools = await _list(client)
            self._listed[name] = (time.monotonic(), tools)
            return tools

    async def call(self, name: str, tool: str, arguments: dict[str, Json]) -> str:
        """Run a tool and return its text, also of a failure.

        Raises ``CredentialsNeeded`` and other ``StackError``s.
        """
        async with self._connected(self._servers[name]) as client:
            result = await client.call_tool(tool, arguments)
        texts = [_text(item) for item in result.content]
        if not texts and result.structured_content is not None:
            texts = [msgspec.json.encode(result.structured_content).decode()]
        return "\n".join(texts)

    @asynccontextmanager
    async def _connected(self, server: McpServer) -> AsyncIterator[Client]:
        # Importing takes more than a second, in which others want to be served.
        mcp, httpx2, transports = [await asyncio.to_thread(import_module, name) for name in _SDK]
        seconds = float(server.timeout or TIMEOUT)
        headers = await _headers(server)
        statuses: list[int] = []

        async def note(response: Any) -> None:
            if response.request.method == "POST":
                statuses.append(response.status_code)

        hooks = {"response": [note]}
        try:
            async with (
                asyncio.timeout(seconds),
                httpx2.AsyncClient(headers=headers, timeout=seconds, event_hooks=hooks) as http,
                mcp.Client(
                    transports.streamable_http_client(server.url, http_client=http),
                    read_timeout_seconds=seconds,
                ) as client,
            ):
                yield client
        # mostly in groups, for the SDK runs tasks of its own
        except (ExceptionGroup, mcp.MCPError, httpx2.HTTPError, OSError, RuntimeError) as exc:
            if statuses and statuses[-1] in _REFUSED:
                raise CredentialsNeeded(server) from exc
            if isinstance(exc, TimeoutError):
                message = f"The tool server {server.name} did not answer in time."
                raise StackTimeout(message) from exc
            raise StackUnavailable(f"The tool server {server.name} cannot be used.") from exc


async def _list(client: Client) -> tuple[McpTool, ...]:
    tools: list[McpTool] = []
    cursor = None
    for _page in range(_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += (McpTool(t.name, t.description or "", t.input_schema) for t in page.tools)
        cursor = page.next_cursor
        if not cursor:
            break
    return tuple(tools)


async def _headers(server: McpServer) -> dict[str, str]:
    """Read the secrets, anew each time."""
    try:
        return {
            header: (await asyncio.to_thread(Path(path).read_text, "utf-8")).strip()
            for header, path in server.authorization_headers.items()
        }
    except (OSError, UnicodeDecodeError) as exc:
        raise StackUnavailable(
            f"The credentials for the tool server {server.name} cannot be read."
        ) from exc


def _text(item: Any) -> str:
    """Return the text of an item of a result; what is not text is named."""
    if item.type == "text":
        text: str = item.text
        return text
    return f"[{item.type}]"
