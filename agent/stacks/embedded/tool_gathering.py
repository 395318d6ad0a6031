"""Which tools a turn may use: those of its agent's tool groups, and the caller's."""

from __future__ import annotations

import logging
import re
import uuid
from typing import TYPE_CHECKING

import msgspec

from agent.errors import InvalidParams, StackError, TurnFailed
from agent.stacks.embedded.agent_config import KNOWLEDGE_GROUP, MCP_PREFIX
from agent.stacks.embedded.tool_events import listing_ended, listing_started
from agent.stacks.embedded.tools import (
    DOWN,
    KNOWLEDGE_SEARCH,
    LEFT_OUT,
    Missing,
    Source,
    Toolbox,
    in_a_line,
)
from agent.stacks.mcp_access import CredentialsNeeded
from agent.stacks.turn import ClientTool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Sequence

    from agent.stacks.embedded.knowledge import Knowledge
    from agent.stacks.embedded.mcp_listings import McpTool
    from agent.stacks.embedded.mcp_servers import ShownServers
    from agent.stacks.turn import AgentOptions, StepEnded, StepStarted, ToolGroup

_log = logging.getLogger(__name__)

_ILLEGAL = re.compile(r"[^a-zA-Z0-9_-]")
_NAME_LENGTH = 64  # the longest name of a function in OpenAI's API


class Gathering:
    """Finds out which tools an agent has; ``toolbox`` has them when ``run`` has ended.

    Servers that are down or left out are its ``missing``.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        servers: ShownServers,
        config: AgentOptions,
        more: Sequence[ClientTool] = (),
        *,
        is_callers: bool = False,
    ) -> None:
        """``more`` are tools that the caller runs, beside those of the agent.

        A tool that a group of a caller's names has to be there, as far as its server can be asked.
        """
        self._is_callers = is_callers
        self._knowledge = knowledge
        self._servers = servers
        self._groups = config.toolgroups
        self._client_tools = (*config.client_tools, *more)
        self._sources: dict[str, Source] = {}
        self._listed: dict[str, tuple[McpTool, ...]] = {}
        self._missing: dict[str, Missing] = {}

    @property
    def toolbox(self) -> Toolbox:
        """The tools that were found."""
        return Toolbox(
            self._knowledge,
            self._servers,
            self._sources,
            self._client_tools,
            tuple(self._missing.values()),
        )

    async def run(self) -> AsyncGenerator[StepStarted | StepEnded]:
        """Ask each MCP server for its tools, once, and tell so.

        Raises ``CredentialsNeeded`` for a server that refuses those it is shown, and ``InvalidParams``.
        """
        for group in self._groups:
            name = group.provider.removeprefix(MCP_PREFIX)
            if group.provider == KNOWLEDGE_GROUP:
                self._sources[KNOWLEDGE_SEARCH.name] = Source(KNOWLEDGE_SEARCH, args=group.args)
            elif name in self._servers:
                async for event in self._list(name):
                    yield event
                self._add(name, group)
            else:
                raise TurnFailed(f"There is no tool group {group.name}.")

    async def _list(self, server: str) -> AsyncGenerator[StepStarted | StepEnded]:
        if server in self._listed or server in self._missing:
            return
        if not self._servers.is_usable(server):
            self._missing[server] = Missing(server, LEFT_OUT)
            return
        call_id = f"mcp_list_{uuid.uuid4().hex}"
        yield listing_started(server, call_id)
        try:
            tools = await self._servers.tools(server)
        except CredentialsNeeded:
            yield listing_ended(server, call_id, failed=True)
            raise
        except StackError as exc:
            _log.warning("%s", in_a_line(exc))
            _log.debug("%s", exc.message, exc_info=exc)
            self._missing[server] = Missing(server, DOWN)
            yield listing_ended(server, call_id, failed=True)
            return
        self._listed[server] = tools
        wanted = self._wanted(server)
        shown = (tool for tool in tools if not wanted or tool.name in wanted)
        yield listing_ended(server, call_id, shown)

    def _wanted(self, server: str) -> Collection[str]:
        """Name the only tools of a server that the groups have; nothing when they have all."""
        groups = [group for group in self._groups if group.provider == MCP_PREFIX + server]
        named = {group.tool for group in groups}
        return () if "" in named else named

    def _add(self, server: str, group: ToolGroup) -> None:
        tools = self._listed.get(server, ())
        chosen = [tool for tool in tools if group.tool in ("", tool.name)]
        if self._is_callers and group.tool and server in self._listed and not chosen:
            raise InvalidParams("toolgroups", f"{group.provider} has no tool {group.tool}")
        for tool in chosen:
            spec = ClientTool(tool.name, tool.description, tool.input_schema)
            _put(self._sources, Source(spec, server, tool.name, group.args))


def _put(sources: dict[str, Source], source: Source) -> None:
    """Add a tool by a name that models take and that no other tool has."""
    names = [source.tool, f"{source.server}_{source.tool}"]
    names += [f"{number}_{names[1]}" for number in range(2, len(sources) + 2)]
    usable = (_ILLEGAL.sub("_", name)[:_NAME_LENGTH] for name in names)
    name = next(name for name in usable if name not in sources)
    spec = msgspec.structs.replace(source.spec, name=name)
    sources[name] = msgspec.structs.replace(source, spec=spec)
