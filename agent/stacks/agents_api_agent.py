"""The agent on Llama Stack's side: made once of the settings, and found again by its name."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from agent.errors import ModelNotFound
from agent.stacks.agents_api_wire import read
from agent.stacks.catalogue import answer_as
from agent.stacks.client import translating
from agent.stacks.mcp_headers import headers_of, takes
from agent.stacks.offered import NOTHING, Offered
from agent.stacks.turn import Json  # noqa: TC001 - msgspec resolves the annotations of fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from llama_stack_client import AsyncLlamaStackClient

    from agent.settings import Settings
    from agent.settings.lcs import McpServer
    from agent.stacks.turn import Credentials, ToolGroup

_log = logging.getLogger(__name__)

_RAG = "builtin::rag"
_SEARCH = f"{_RAG}/knowledge_search"
_PAGE = 100
_COLDEST = 1e-4  # the server wants a temperature above 0, and its greedy strategy sends none at all


class RemoteAgent(msgspec.Struct, frozen=True):
    """An agent that exists on the server, with what it was made with.

    ``tools`` are schemas by name, ``search`` the tool groups that search what the server offered.
    """

    agent_id: str
    model: str
    instructions: str
    input_shields: frozenset[str]
    tools: dict[str, Json]
    has_tools: bool
    search: tuple[Json, ...] = ()

    @classmethod
    def of(cls, agent_id: str, config: Json) -> RemoteAgent:
        """Read an agent's configuration; raises ``InvalidAgentResponse``."""
        made = read(config, _Config)
        tools = {tool.name: tool.input_schema for tool in made.client_tools or ()}
        return cls(
            agent_id,
            made.model,
            made.instructions or "",
            frozenset(made.input_shields or ()),
            tools,
            has_tools=bool(tools or made.toolgroups),
            search=tuple(filter(_is_search, made.toolgroups or ())),
        )


class _Tool(msgspec.Struct):
    name: str
    input_schema: Json = None


class _Config(msgspec.Struct):
    model: str
    instructions: str | None = None
    input_shields: list[str] | None = None
    client_tools: list[_Tool] | None = None
    toolgroups: list[Json] | None = None


class _Named(msgspec.Struct):
    name: str | None = None


class _Listed(msgspec.Struct):
    agent_id: str
    agent_config: _Named = msgspec.field(default_factory=_Named)


class _Page(msgspec.Struct):
    data: list[_Listed]
    has_more: bool = False


class _Known(msgspec.Struct):
    agent_config: Json


class _Created(msgspec.Struct):
    agent_id: str


class _Endpoint(msgspec.Struct):
    uri: str


class _ToolGroup(msgspec.Struct):
    identifier: str
    mcp_endpoint: _Endpoint | None = None


class _ToolGroups(msgspec.Struct):
    data: list[_ToolGroup]


async def find_or_create(
    client: AsyncLlamaStackClient,
    settings: Settings,
    served: Sequence[str],
    offered: Offered = NOTHING,
) -> RemoteAgent:
    """Return the agent of these settings and of what is offered; its tool groups are registered first.

    ``served`` are the ids of the server's language models. Raises ``StackError``.
    """
    model = model_of(settings, served)
    if settings.mcp_servers or offered.stores:
        listed = await answer_as(_ToolGroups, client.toolgroups.with_raw_response.list())
        groups = {group.identifier: group for group in listed.data}
        await _register_mcp_servers(client, settings, groups)
        if offered.stores and _RAG not in groups:
            _log.warning("vector stores are not searched: Llama Stack has no tool group %s", _RAG)
            offered = Offered(shields=offered.shields)
    config: Any = config_of(settings, model, offered)
    agent_id = await _find(client, config["name"])
    if agent_id is None:
        call = client.alpha.agents.with_raw_response.create(agent_config=config)
        agent_id = (await answer_as(_Created, call)).agent_id
        _log.info("created agent %s on Llama Stack", config["name"])
    return RemoteAgent.of(agent_id, config)


async def existing(client: AsyncLlamaStackClient, agent_id: str) -> RemoteAgent:
    """Return an agent by its id; raises ``StackError``, ``ConversationLost`` for one that is gone."""
    wire = await answer_as(_Known, client.alpha.agents.with_raw_response.retrieve(agent_id))
    return RemoteAgent.of(agent_id, wire.agent_config)


def config_of(settings: Settings, model: str, offered: Offered = NOTHING) -> dict[str, Json]:
    """Return the agent's configuration; its name changes with everything else in it."""
    agent, shields = settings.agent, settings.agent.input_shields
    search: list[Json] = []
    if offered.stores:
        search = [{"name": _SEARCH, "args": {"vector_db_ids": list(offered.stores)}}]
    for_everybody = [server for server in settings.mcp_servers if not takes(server)]
    config: dict[str, Json] = {
        "model": model,
        "instructions": settings.instructions,
        "toolgroups": toolgroups_of(settings, for_everybody, search),
        "input_shields": list(offered.shields if shields is None else shields),
        "output_shields": list(agent.output_shields),
        "client_tools": [tool.model_dump() for tool in agent.client_tools],
        "max_infer_iters": agent.max_infer_iters,
        "sampling_params": _sampling(agent.temperature, agent.max_tokens),
        "enable_session_persistence": True,
    }
    canonical = msgspec.json.encode(config, order="deterministic")
    digest = hashlib.sha256(canonical).hexdigest()[:12]
    return config | {"name": f"{agent.name}-{digest}"}


def toolgroups_of(
    settings: Settings, servers: Sequence[McpServer], search: Sequence[Json] = ()
) -> list[Json]:
    """Return the tool groups of the settings, or ``search``; of MCP servers only those of ``servers``."""
    left_out, configured = _left_out(settings, servers), settings.agent.toolgroups
    groups = list(search) if configured is None else []
    for group in configured or ():
        name = group if isinstance(group, str) else group.name
        if name.partition("/")[0] not in left_out:
            groups.append(group if isinstance(group, str) else group.model_dump())
    return groups + [f"mcp::{server.name}" for server in servers]


def groups_with(
    settings: Settings, servers: Sequence[McpServer], groups: Iterable[ToolGroup]
) -> list[Json]:
    """Return the tool groups of a message; of the settings' MCP servers only those of ``servers``."""
    left_out = _left_out(settings, servers)
    return [
        {"name": group.name, "args": group.args} if group.args else group.name
        for group in groups
        if group.provider not in left_out
    ]


def servers_of(settings: Settings, groups: Iterable[ToolGroup] | None) -> list[McpServer]:
    """Return the MCP servers of the settings that the tool groups of a message name; None is all."""
    named = None if groups is None else {group.provider for group in groups}
    return [each for each in settings.mcp_servers if named is None or f"mcp::{each.name}" in named]


def _left_out(settings: Settings, servers: Sequence[McpServer]) -> set[str]:
    return {f"mcp::{each.name}" for each in settings.mcp_servers if each not in servers}


def _is_search(group: Json) -> bool:
    return isinstance(group, dict) and group.get("name") == _SEARCH


def _sampling(temperature: float | None, max_tokens: int | None) -> dict[str, Json]:
    """Return sampling parameters that leave to the model's server what is not set.

    Without a ``max_tokens`` of null the agents API asks the model for 0 tokens.
    """
    strategy: dict[str, Json] = {"type": "greedy"}
    if temperature is not None:
        strategy = {"type": "top_p", "temperature": max(temperature, _COLDEST), "top_p": None}
    return {"strategy": strategy, "max_tokens": max_tokens}


def model_of(settings: Settings, served: Sequence[str]) -> str:
    """Return the id of the model as the server knows it: ids begin with the provider there."""
    model, provider = settings.inference.default_model, settings.inference.default_provider
    if model is None:
        if not served:
            raise ModelNotFound("The stack behind this agent serves no language model.")
        return served[0]
    joined = f"{provider}/{model}" if provider else model
    wanted = [joined, model]
    if not provider:
        wanted += [identifier for identifier in served if identifier.endswith(f"/{model}")]
    # a model that is not served stays as configured: the turn says that it is not known
    return next((identifier for identifier in wanted if identifier in served), joined)


async def _find(client: AsyncLlamaStackClient, name: str) -> str | None:
    """Return the id of the agent of this name; there is no other way than to list all of them."""
    start = 0
    while True:
        call = client.alpha.agents.with_raw_response.list(start_index=start, limit=_PAGE)
        page = await answer_as(_Page, call)
        for agent in page.data:
            if agent.agent_config.name == name:
                return agent.agent_id
        if not page.has_more or not page.data:
            return None
        start += len(page.data)


async def _register_mcp_servers(
    client: AsyncLlamaStackClient, settings: Settings, known: Mapping[str, _ToolGroup]
) -> None:
    for server in settings.mcp_servers:
        group_id = f"mcp::{server.name}"
        group = known.get(group_id)
        if group is None:
            with translating():
                await client.toolgroups.register(
                    toolgroup_id=group_id,
                    provider_id=server.provider_id,
                    mcp_endpoint={"uri": server.url},
                )
        elif group.mcp_endpoint is None or group.mcp_endpoint.uri != server.url:
            _log.warning("Llama Stack has %s with another URL, which stays in use", group_id)


async def mcp_headers(
    servers: Sequence[McpServer], credentials: Credentials
) -> dict[str, dict[str, str]]:
    """Return the headers for MCP servers by their URL, made anew for each turn."""
    headers: dict[str, dict[str, str]] = {}
    for server in servers:
        if shown := await headers_of(server, credentials):
            headers[server.url] = headers.get(server.url, {}) | shown
    return headers


def provider_data(headers: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the header that tells Llama Stack what to show to MCP servers."""
    if not headers:
        return {}
    return {"X-LlamaStack-Provider-Data": json.dumps({"mcp_headers": headers}, ensure_ascii=True)}
