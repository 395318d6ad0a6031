"""The agent of the settings, as this stack runs it."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

import msgspec

from agent.stacks.turn import AgentOptions, ClientTool, Sampling, ToolGroup

if TYPE_CHECKING:
    from agent.settings import Settings

KNOWLEDGE_GROUP, MCP_PREFIX = "builtin::rag", "mcp::"

_NAMESPACE = uuid.UUID("5a1d2a0c-54c5-4f0e-9a3b-0f6d1c9b7e42")


def config_of(settings: Settings) -> AgentOptions:
    """Return the agent of the settings: it has the documents and all MCP servers.

    A tool group that names one tool of a server leaves out the server's other tools; groups that
    only a Llama Stack has are left out.
    """
    agent = settings.agent
    own = providers(settings)
    groups = [group for group in _given(settings) if group.provider in own]
    named = {group.provider for group in groups}
    config = AgentOptions(
        agent_id="",
        instructions=settings.instructions,
        toolgroups=(*groups, *(ToolGroup(name) for name in own if name not in named)),
        client_tools=tuple(
            ClientTool(tool.name, tool.description, dict(tool.input_schema))
            for tool in agent.client_tools
        ),
        max_infer_iters=agent.max_infer_iters,
        sampling=Sampling(temperature=agent.temperature, max_tokens=agent.max_tokens),
        input_shields=agent.input_shields or (),
        output_shields=agent.output_shields,
    )
    return msgspec.structs.replace(config, agent_id=_identity(config))


def providers(settings: Settings) -> list[str]:
    """Name the tool groups that this stack has."""
    return [KNOWLEDGE_GROUP, *(MCP_PREFIX + server.name for server in settings.mcp_servers)]


def unusable_groups(settings: Settings) -> list[str]:
    """Name the tool groups of the settings that this stack does not have."""
    own = providers(settings)
    return [group.name for group in _given(settings) if group.provider not in own]


def _given(settings: Settings) -> list[ToolGroup]:
    return [
        ToolGroup(group) if isinstance(group, str) else ToolGroup(group.name, group.args)
        for group in settings.agent.toolgroups or ()
    ]


def _identity(config: AgentOptions) -> str:
    """Return an id that is the same for the same configuration."""
    digest = hashlib.sha256(msgspec.json.encode(config, order="deterministic")).hexdigest()
    return str(uuid.uuid5(_NAMESPACE, digest))
