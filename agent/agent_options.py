"""A stored agent -> what a stack is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.errors import TurnFailed
from agent.stacks import AgentOptions, ClientTool, Json, Sampling, ToolGroup

if TYPE_CHECKING:
    from a2a_state.agents import Agent
    from agent.settings import Settings


MAX_INFER_ITERS = 10
"""How often the model is asked in a turn where the agent says nothing: Llama Stack's default."""


class _ToolDef(msgspec.Struct, frozen=True):
    name: str
    description: str | None = None
    input_schema: dict[str, Json] | None = None


class _Strategy(msgspec.Struct, frozen=True):
    type: str = "greedy"
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None


class SamplingParams(msgspec.Struct, frozen=True):
    """Llama Stack's ``SamplingParams``."""

    strategy: _Strategy | None = None
    max_tokens: int | None = None
    repetition_penalty: float | None = None
    stop: tuple[str, ...] | None = None

    @property
    def sampling(self) -> Sampling:
        """As a stack is told: what are the API's defaults is left to the server.

        That a caller has said greedy cannot be told from the default: no temperature is sent for it.
        """
        strategy = self.strategy or _Strategy()
        return Sampling(
            strategy=strategy.type,
            temperature=strategy.temperature,
            top_p=strategy.top_p,
            top_k=strategy.top_k,
            # 0 sets no limit.
            max_tokens=self.max_tokens or None,
            # 1 is no penalty; most servers refuse an argument that they do not know.
            repetition_penalty=None if self.repetition_penalty == 1 else self.repetition_penalty,
            stop=self.stop or (),
        )


class _ToolConfig(msgspec.Struct, frozen=True):
    tool_choice: str | None = None


class _Config(msgspec.Struct, frozen=True, kw_only=True):
    """Llama Stack's ``AgentConfig``: what is read of it."""

    model: str
    instructions: str = ""
    toolgroups: tuple[str | ToolGroup, ...] | None = None
    client_tools: tuple[_ToolDef, ...] | None = None
    tool_choice: str | None = None
    tool_config: _ToolConfig | None = None
    max_infer_iters: int | None = None
    sampling_params: SamplingParams | None = None
    input_shields: tuple[str, ...] | None = None
    output_shields: tuple[str, ...] | None = None
    response_format: dict[str, Json] | None = None


def options_of(agent: Agent) -> tuple[AgentOptions, str]:
    """Return the options of an agent, and its model; raises ``TurnFailed`` for what is no agent."""
    try:
        config = msgspec.convert(agent.agent_config, _Config)
    except msgspec.ValidationError as exc:
        raise TurnFailed("The configuration of the agent is not valid.") from exc
    chosen = config.tool_config.tool_choice if config.tool_config else config.tool_choice
    options = AgentOptions(
        agent_id=agent.agent_id,
        instructions=config.instructions,
        toolgroups=groups_of(config.toolgroups or ()),
        client_tools=tuple(
            ClientTool(tool.name, tool.description or "", tool.input_schema or {})
            for tool in config.client_tools or ()
        ),
        tool_choice=chosen or "auto",
        max_infer_iters=config.max_infer_iters or MAX_INFER_ITERS,
        sampling=(config.sampling_params or SamplingParams()).sampling,
        input_shields=config.input_shields or (),
        output_shields=config.output_shields or (),
        response_format=config.response_format,
    )
    return options, config.model


def within_rules(agent: AgentOptions, settings: Settings) -> AgentOptions:
    """Return the agent of a caller as the settings let it be.

    Where callers may not choose shields, those of the settings come first; where they may not choose the
    prompt, it says more than that of the settings, and nothing else.
    """
    rules, own = settings.customization, settings.agent
    if rules.disable_shield_ids_override:
        agent = msgspec.structs.replace(
            agent,
            input_shields=_joined(own.input_shields or (), agent.input_shields),
            output_shields=_joined(own.output_shields, agent.output_shields),
        )
    if rules.disable_query_system_prompt:
        prompts = (settings.instructions, agent.instructions)
        agent = msgspec.structs.replace(agent, instructions="\n\n".join(filter(None, prompts)))
    return agent


def _joined(first: tuple[str, ...], then: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *then)))


def groups_of(written: tuple[str | ToolGroup, ...]) -> tuple[ToolGroup, ...]:
    """Return tool groups, each with its arguments."""
    return tuple(ToolGroup(group) if isinstance(group, str) else group for group in written)
