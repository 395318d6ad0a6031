"""The tools of an agent: the documents, those of MCP servers, and those that the caller runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from agent.errors import InvalidParams, StackError
from agent.stacks.embedded import tool_events
from agent.stacks.embedded.messages import arguments_of
from agent.stacks.embedded.model import MODES
from agent.stacks.embedded.ranking import Statistics, rank
from agent.stacks.embedded.retrieval import citation_of
from agent.stacks.embedded.terms import asked
from agent.stacks.mcp_access import CredentialsNeeded
from agent.stacks.turn import Citation, ClientTool, Json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.stacks.embedded.knowledge import Knowledge
    from agent.stacks.embedded.mcp_servers import ShownServers
    from agent.stacks.embedded.messages import ToolCall

_log = logging.getLogger(__name__)

KNOWLEDGE_SEARCH = ClientTool(
    "knowledge_search",
    "Search the documents of this agent. Use it for every question that they may answer.",
    {
        "type": "object",
        "properties": {"query": {"type": "string", "description": "What to look for."}},
        "required": ["query"],
    },
)
RESULT_CHARS = 20_000
"""Characters of a tool's result that the model is given."""

DOWN = "not available at the moment"
LEFT_OUT = "left out: the user has sent no credentials for them"

_PASSAGES, _CANDIDATES = 5, 30


class ToolResult(msgspec.Struct, frozen=True):
    """What a tool call came to."""

    content: str
    citations: tuple[Citation, ...] = ()
    failed: bool = False


class Source(msgspec.Struct, frozen=True):
    """Where a tool is run: an MCP server, or here when ``server`` is empty."""

    spec: ClientTool
    server: str = ""
    tool: str = ""
    args: dict[str, Json] = {}


class Missing(msgspec.Struct, frozen=True):
    """An MCP server whose tools are not there; ``because`` is ``DOWN`` or ``LEFT_OUT``."""

    server: str
    because: str


class Toolbox:
    """The tools that one turn may use, by the names that the model calls them by."""

    def __init__(
        self,
        knowledge: Knowledge,
        servers: ShownServers,
        sources: Mapping[str, Source],
        client_tools: Sequence[ClientTool],
        missing: Sequence[Missing] = (),
    ) -> None:
        """``missing`` are the servers whose tools are not there now."""
        self._knowledge = knowledge
        self._servers = servers
        self._client = {tool.name: tool for tool in client_tools}
        self._sources = dict(sources)
        self.missing = tuple(missing)

    @property
    def specs(self) -> tuple[ClientTool, ...]:
        """All tools, as the model is told of them; the caller's win over others of their name."""
        own = (s.spec for name, s in self._sources.items() if name not in self._client)
        return (*own, *self._client.values())

    def chosen(self, choice: str) -> str:
        """Return what the model is told of a tool choice: tools are named as it knows them.

        Raises ``InvalidParams`` for a tool that there is not.
        """
        if choice in MODES or choice in self._client or choice in self._sources:
            return choice
        for name, source in self._sources.items():
            if source.tool == choice:
                return name
        raise InvalidParams("tool_choice", "\n".join((f"there is no tool {choice}", *self.notes)))

    def is_client(self, call: ToolCall) -> bool:
        """Tell whether the caller has to run a tool: only with arguments that can be read."""
        return call.tool_name in self._client and arguments_of(call) is not None

    def wants_approval(self, call: ToolCall) -> bool:
        """Tell whether the caller has to approve a call of a tool of this side."""
        source = self._sources.get(call.tool_name)
        if source is None or not source.server or arguments_of(call) is None:
            return False
        return self._servers.wants_approval(source.server, source.tool)

    def server_of(self, call: ToolCall) -> str:
        """Return the name of the MCP server that a tool is of; empty for the others."""
        source = self._sources.get(call.tool_name)
        return source.server if source else ""

    @property
    def notes(self) -> list[str]:
        """What the model is told of the servers whose tools are not there."""
        return [f"The tools of {each.server} are {each.because}." for each in self.missing]

    def about(self, call: ToolCall) -> dict[str, str]:
        """Return what is to be shown of the tool of a call: its type, and its MCP server."""
        source = None if call.tool_name in self._client else self._sources.get(call.tool_name)
        if source is None:
            return {"type": tool_events.FUNCTION}
        if source.server:
            return {"type": tool_events.MCP, "server_label": source.server}
        return {"type": tool_events.SEARCH}

    def check(self, waiting: Sequence[ToolCall]) -> None:
        """Raise ``CredentialsNeeded`` when calls of an earlier message may be of a server left out now."""
        left_out = [each.server for each in self.missing if each.because == LEFT_OUT]
        known = self._sources.keys() | self._client.keys()
        if left_out and any(call.tool_name not in known for call in waiting):
            raise self._servers.needed(left_out[0])

    async def run(self, call: ToolCall) -> ToolResult:
        """Run a tool of this side. What goes wrong is told to the model, which may try again.

        Raises ``CredentialsNeeded``, which no model can help.
        """
        arguments = arguments_of(call)
        source = self._sources.get(call.tool_name)
        if arguments is None:
            return _failed("The arguments are not a valid JSON object.")
        if source is None:
            return _failed("\n".join((f"There is no tool {call.tool_name}.", *self.notes)))
        try:
            if source.server:
                called = await self._servers.call(
                    source.server, source.tool, arguments | source.args
                )
                return ToolResult(_bounded(called.text), failed=called.failed)
            return await self._search(arguments | source.args)
        except CredentialsNeeded:
            raise
        except StackError as exc:
            _log.warning("tool %s failed: %s", call.tool_name, in_a_line(exc))
            _log.debug("tool %s failed", call.tool_name, exc_info=exc)
            return _failed(exc.message)

    async def _search(self, arguments: dict[str, Json]) -> ToolResult:
        query = arguments.get("query")
        if not isinstance(query, str) or not query.strip():
            return _failed("The argument query must be a text.")
        terms = asked(query)
        hits = await self._knowledge.search(terms, _CANDIDATES)
        _question, ranked = rank(terms, "", hits.passages, Statistics(hits.total, hits.counts))
        passages = ranked[:_PASSAGES]
        if not passages:
            return ToolResult("The documents hold nothing on this.")
        citations = tuple(citation_of(each.passage, each.score) for each in passages)
        texts = (
            f"[{number}] {citation.title} ({citation.uri})\n{each.passage.text}"
            for number, (each, citation) in enumerate(zip(passages, citations, strict=True), 1)
        )
        return ToolResult(_bounded("\n\n".join(texts)), citations)


def _failed(why: str) -> ToolResult:
    return ToolResult(why, failed=True)


def in_a_line(error: StackError) -> str:
    """Say what happened and by what kind of fault; what that one says may be the server's own words."""
    root: BaseException = error
    while inner := root.exceptions[0] if isinstance(root, BaseExceptionGroup) else root.__cause__:
        root = inner
    return error.message if root is error else f"{error.message.rstrip('.')}: {type(root).__name__}"


def _bounded(text: str) -> str:
    if len(text) <= RESULT_CHARS:
        return text
    return f"{text[:RESULT_CHARS]}\n[cut off: {len(text)} characters in all]"
