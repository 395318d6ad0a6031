"""The tools of MCP servers, listed as Llama Stack lists tools."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from agent.errors import StackError
from agent.stacks.turn import NO_CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.settings.lcs import McpServer
    from agent.stacks.embedded.mcp_servers import McpServers, ShownServers
    from agent.stacks.turn import Json

_log = logging.getLogger(__name__)


class McpCatalogue:
    """What MCP servers have, as far as they let anybody see it."""

    def __init__(self, servers: Sequence[McpServer]) -> None:
        """Connect to nothing."""
        self._configured = servers
        self._servers: McpServers | None = None

    async def tools(self, groups_listed: set[Json]) -> list[Json]:
        """Return the tools of the servers whose tool groups are not among those that are listed.

        A server that cannot be asked is left out.
        """
        wanted = [each for each in self._configured if f"mcp::{each.name}" not in groups_listed]
        if not wanted:
            return []
        if self._servers is None:
            from agent.stacks.embedded.mcp_servers import McpServers  # not needed by most

            self._servers = McpServers(self._configured)
        shown = self._servers.shown(NO_CREDENTIALS)
        open_to_all = set(shown)
        rows = await asyncio.gather(
            *(_rows(shown, server) for server in wanted if server.name in open_to_all)
        )
        return [row for some in rows for row in some]


async def _rows(shown: ShownServers, server: McpServer) -> list[Json]:
    try:
        tools = await shown.tools(server.name)
    except StackError as exc:
        _log.warning("the tools of %s cannot be listed: %s", server.name, exc.message)
        return []
    return [
        {
            "toolgroup_id": f"mcp::{server.name}",
            "provider_id": server.provider_id,
            "name": tool.name,
            "description": tool.description,
            "input_schema": tool.input_schema,
            "output_schema": None,
            "metadata": {},
        }
        for tool in tools
    ]
