"""How an agent behaves: what Llama Stack calls its configuration."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

import msgspec

from agent.errors import TurnFailed
from agent.stacks.turn import Json  # noqa: TC001 - msgspec resolves the annotations of fields

if TYPE_CHECKING:
    from agent.settings import Settings

KNOWLEDGE_GROUP, MCP_PREFIX = "builtin::rag", "mcp::"

_NAMESPACE = uuid.UUID("5a1d2a0c-54c5-4f0e-9a3b-0f6d1c9b7e42")


class ToolGroup(msgspec.Struct, frozen=True):
    """A tool group, or with ``group/tool`` one tool of it; ``args`` go into every call."""

    name: str
    args: dict[str, Json] = {}

    @property
    def provider(self) -> str:
        """The group, without the one tool of it."""
        return self.name.partition("/")[0]

    @property
    def tool(self) -> str:
        """The one tool of the group; empty for all of them."""
        return self.name.partition("/")[2]


class ClientToolDef(msgspec.Struct, frozen=True):
    """A tool that the caller runs."""

    name: str
    description: str | None = None
    input_schema: dict[str, Json] | None = None


class Strategy(msgspec.Struct, frozen=True):
    """How the next token is drawn; ``type`` is greedy, top_p or top_k."""

    type: str = "greedy"
    temperature: float | None = None
    top_p: float | None = None


class SamplingParams(msgspec.Struct, frozen=True):
    """How the model answers; ``max_tokens`` of 0 sets no limit."""

    strategy: Strategy | None = None
    max_tokens: int | None = None


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of an agent; without a ``model`` it has the default one."""

    model: str | None = None
    instructions: str = ""
    name: str | None = None
    toolgroups: tuple[str | ToolGroup, ...] | None = None
    client_tools: tuple[ClientToolDef, ...] | None = None
    max_infer_iters: int | None = None
    sampling_params: SamplingParams | None = None
    input_shields: tuple[str, ...] | None = None
    output_shields: tuple[str, ...] | None = None

    @property
    def groups(self) -> tuple[ToolGroup, ...]:
        """The tool groups, each with its arguments."""
        return tuple(
            ToolGroup(group) if isinstance(group, str) else group for group in self.toolgroups or ()
        )


def config_of(settings: Settings) -> AgentConfig:
    """Return the agent of the settings: it has the documents and all MCP servers.

    A tool group that names one tool of a server leaves out the server's other tools; groups that
    only a Llama Stack has are left out.
    """
    agent = settings.agent
    own = _providers(settings)
    groups = [group for group in _given(settings) if group.provider in own]
    named = {group.provider for group in groups}
    return AgentConfig(
        instructions=settings.instructions,
        name=agent.name,
        toolgroups=(*groups, *(ToolGroup(name) for name in own if name not in named)),
        client_tools=tuple(
            ClientToolDef(tool.name, tool.description, dict(tool.input_schema))
            for tool in agent.client_tools
        ),
        max_infer_iters=agent.max_infer_iters,
        sampling_params=SamplingParams(
            Strategy("top_p", agent.temperature) if agent.temperature is not None else None,
            agent.max_tokens,
        ),
        input_shields=agent.input_shields or (),
        output_shields=agent.output_shields,
    )


def unusable_groups(settings: Settings) -> list[str]:
    """Name the tool groups of the settings that this stack does not have."""
    own = _providers(settings)
    return [group.name for group in _given(settings) if group.provider not in own]


def _providers(settings: Settings) -> list[str]:
    return [KNOWLEDGE_GROUP, *(MCP_PREFIX + server.name for server in settings.mcp_servers)]


def _given(settings: Settings) -> list[ToolGroup]:
    return [
        ToolGroup(group) if isinstance(group, str) else ToolGroup(group.name, group.args)
        for group in settings.agent.toolgroups or ()
    ]


def read_config(stored: Json) -> AgentConfig:
    """Read the configuration of an agent; raises ``TurnFailed`` for what is not one."""
    try:
        return msgspec.convert(stored, AgentConfig)
    except msgspec.ValidationError as exc:
        raise TurnFailed("The configuration of the agent is not valid.") from exc


def identity(config: AgentConfig) -> str:
    """Return an id that is the same for the same configuration."""
    digest = hashlib.sha256(msgspec.json.encode(config, order="deterministic")).hexdigest()
    return str(uuid.uuid5(_NAMESPACE, digest))
