"""The tool groups that an agent or a message names -> tools of the Responses API."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.errors import InvalidParams
from agent.stacks.mcp_access import usable
from agent.stacks.offered import Remembered
from agent.stacks.responses_api_options import chosen_groups, groups_of, has_tools
from agent.stacks.responses_api_tools import (
    FILE_SEARCH_GROUPS,
    MCP,
    STORES,
    WEB_SEARCH_GROUP,
    allowed,
    file_search,
    mcp_tool,
    mcp_tools,
    web_search,
)
from agent.stacks.turn import Json, ToolGroup  # noqa: TC001 - NamedTuple has them as annotations

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from agent.settings import Settings
    from agent.settings.lcs import McpServer
    from agent.stacks.turn import TurnRequest

FIELD = "toolgroups"
_SEARCHES = ("", "knowledge_search", "file_search")


class Tools(NamedTuple):
    """Tools of a turn, and which MCP servers of the settings are among them."""

    tools: list[dict[str, Json]]
    servers: Sequence[McpServer]


class ToolGroups:
    """Finds out what tool groups are; the server is asked for those that the settings do not know."""

    def __init__(
        self,
        settings: Settings,
        stores: Callable[[], Awaitable[Sequence[str]]],
        registered: Callable[[], Awaitable[Sequence[Json]]],
    ) -> None:
        """``stores`` are all that can be searched, ``registered`` the server's own tool groups."""
        self._settings = settings
        self._stores = stores
        self._registered = Remembered(registered)

    async def tools_of(self, request: TurnRequest) -> Tools:
        """Return the tools of a turn which its body does not have yet.

        Raises ``CredentialsNeeded``, and ``InvalidParams`` for a group that cannot be had as it is named.
        """
        if not has_tools(request):
            return Tools([], ())
        groups = chosen_groups(request)
        servers, tools = {MCP + each.name: each for each in self._settings.mcp_servers}, []
        if groups is None:
            groups = groups_of(self._settings)
        else:
            for group in groups:
                _check(group)
            others = [group for group in groups if group.provider not in servers]
            tools += await self._searches(others, request)
            tools += await self._registered_tools(others)
            named = {group.provider for group in groups}
            servers = {name: each for name, each in servers.items() if name in named}
        found = await usable(servers.values(), request.credentials)
        tools += await mcp_tools(groups, found, request.credentials)
        return Tools(tools, found)

    async def _searches(
        self, groups: Iterable[ToolGroup], request: TurnRequest
    ) -> list[dict[str, Json]]:
        """Build the searches: one for all stores that are named, unless the message names others."""
        tools, stores, wanted = [], dict[str, None](), request.options.vector_store_ids
        for group in groups:
            if group.provider == WEB_SEARCH_GROUP and web_search() not in tools:
                tools.append(web_search())
            if group.provider in FILE_SEARCH_GROUPS and wanted is None:
                stores |= dict.fromkeys(_stores_of(group) or await self._stores())
        return [file_search(list(stores)), *tools] if stores else tools

    async def _registered_tools(self, groups: Iterable[ToolGroup]) -> list[dict[str, Json]]:
        others = [each for each in groups if not _is_search(each)]
        if not others:
            return []
        urls = {row.get("identifier"): _url(row) for row in await self._registered.get()}
        tools = []
        for name in dict.fromkeys(group.provider for group in others):
            url = urls.get(name)
            if url is None:
                known = (
                    "cannot be used with the Responses API" if name in urls else "does not exist"
                )
                self._registered.forget()
                raise InvalidParams(FIELD, f"the tool group {name} {known}")
            tools.append(mcp_tool(name.removeprefix(MCP), url) | allowed(others, name))
        return tools


def _check(group: ToolGroup) -> None:
    """Raise ``InvalidParams`` for arguments that would be lost, and for tools that there are not."""
    searches_stores = group.provider in FILE_SEARCH_GROUPS
    for name, value in group.args.items():
        if not searches_stores or name not in STORES:
            raise InvalidParams(FIELD, f"{group.provider} takes no argument {name} here")
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise InvalidParams(FIELD, f"{name} of {group.provider} must be a list of ids")
    if searches_stores and group.tool not in _SEARCHES:
        raise InvalidParams(FIELD, f"{group.provider} has no tool {group.tool} here")


def _is_search(group: ToolGroup) -> bool:
    return group.provider in (*FILE_SEARCH_GROUPS, WEB_SEARCH_GROUP)


def _stores_of(group: ToolGroup) -> list[str]:
    return [store for name in STORES for store in group.args.get(name, ())]


def _url(row: Json) -> str | None:
    endpoint = row.get("mcp_endpoint")
    uri = endpoint.get("uri") if isinstance(endpoint, dict) else None
    return uri if isinstance(uri, str) and uri else None
