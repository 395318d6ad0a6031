"""Builds the tools of a Responses request.

No I/O, except that ``mcp_tools`` reads the files in which the secrets of MCP servers are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.stacks.mcp_headers import headers_of
from agent.stacks.responses_api_options import groups_of
from agent.stacks.turn import ClientTool, Json, ToolGroup

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agent.settings import Settings
    from agent.settings.lcs import McpServer
    from agent.stacks.turn import Credentials

type JsonObject = dict[str, Json]

FILE_SEARCH_GROUPS = ("builtin::rag", "builtin::file_search")  # 0.3 and later
WEB_SEARCH_GROUP = "builtin::websearch"
MCP = "mcp::"
STORES = ("vector_db_ids", "vector_store_ids")
"""The arguments of a tool group that name the stores which are searched."""


def file_search(stores: Sequence[str]) -> JsonObject:
    """Build the tool that searches stores."""
    return {"type": "file_search", "vector_store_ids": list(stores)}


def web_search() -> JsonObject:
    """Build the tool that searches the web."""
    return {"type": "web_search"}


def function_tools(tools: Iterable[ClientTool]) -> Iterator[JsonObject]:
    """Build the tools that the caller runs; of two with one name the later one counts."""
    for tool in {tool.name: tool for tool in tools}.values():
        yield {
            "type": "function",
            "name": tool.name,
            "description": tool.description or tool.name,  # 0.3.5 fails without one
            "parameters": tool.input_schema or {"type": "object", "properties": {}},
        }


def search_tool(group: ToolGroup) -> JsonObject | None:
    """Build the tool of a tool group of the settings; None when there is none for it."""
    stores = next((group.args[key] for key in STORES if group.args.get(key)), None)
    if group.provider in FILE_SEARCH_GROUPS and isinstance(stores, list):
        return file_search(stores)
    return web_search() if group.provider == WEB_SEARCH_GROUP else None


def unusable_toolgroups(settings: Settings) -> list[str]:
    """Give the names of the configured tool groups that the Responses API has no tool for."""
    servers = {MCP + server.name for server in settings.mcp_servers}
    return [
        group.provider
        for group in groups_of(settings)
        if group.provider not in servers and search_tool(group) is None
    ]


async def mcp_tools(
    groups: Sequence[ToolGroup], servers: Sequence[McpServer], credentials: Credentials
) -> list[JsonObject]:
    """Build the tools of these MCP servers with their secrets, anew for each turn.

    ``groups`` may choose some of a server's tools.
    """
    return [await _mcp_tool(groups, server, credentials) for server in servers]


async def _mcp_tool(
    groups: Sequence[ToolGroup], server: McpServer, credentials: Credentials
) -> JsonObject:
    tool = mcp_tool(server.name, server.url, _approval(server))
    headers = {}
    for header, value in (await headers_of(server, credentials)).items():
        if header.lower() == "authorization":  # not taken among the headers; Bearer is put before
            scheme, _, token = value.partition(" ")
            tool["authorization"] = token.strip() if scheme.lower() == "bearer" else value
        else:
            headers[header] = value
    if headers:
        tool["headers"] = headers
    return tool | allowed(groups, MCP + server.name)


def mcp_tool(label: str, url: str, approval: Json = "never") -> JsonObject:
    """Build the tool of an MCP server that is shown nothing."""
    return {
        "type": "mcp",
        "server_label": label,
        "server_url": url,
        "require_approval": approval,
    }


def allowed(groups: Iterable[ToolGroup], name: str) -> JsonObject:
    """Return which tools of the group ``name`` are chosen: nothing for all of them."""
    chosen = [group.tool for group in groups if group.provider == name]
    return {"allowed_tools": chosen} if chosen and all(chosen) else {}


def shown_in(tools: Sequence[JsonObject]) -> list[str]:
    """Return the secrets in definitions of tools."""
    return [
        value
        for tool in tools
        for value in (tool.get("authorization"), *tool.get("headers", {}).values())
        if value
    ]


def _approval(server: McpServer) -> Json:
    asked = server.require_approval
    return asked if isinstance(asked, str) else {"always": list(asked)}
