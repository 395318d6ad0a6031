"""The headers that MCP servers are shown: their values are kept in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from agent.errors import SettingsError, TurnFailed

if TYPE_CHECKING:
    from agent.settings import Settings
    from agent.settings.lcs import McpServer

# LCS's words for a token that comes with the request.
_CALLERS_TOKENS = frozenset({"client", "kubernetes", "oauth"})


def check_mcp_headers(settings: Settings) -> None:
    """Raise ``SettingsError`` for headers that need a token of the caller's: none comes here."""
    for index, server in enumerate(settings.mcp_servers):
        for header, source in server.authorization_headers.items():
            if source in _CALLERS_TOKENS:
                raise SettingsError(
                    f"mcp_servers[{index}].authorization_headers.{header}",
                    f"{source} is not supported here; give the path of a file",
                )


async def headers_of(server: McpServer) -> dict[str, str]:
    """Return the headers for a server, read anew each time; raises ``TurnFailed``."""
    return {
        header: await _secret(path, server.name)
        for header, path in server.authorization_headers.items()
    }


async def _secret(path: str, server: str) -> str:
    try:
        return (await anyio.Path(path).read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise TurnFailed(f"The credentials for the MCP server {server} cannot be read.") from exc
