"""What an agent is like: as callers say it, as it is shown, and that of the settings."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import msgspec

from a2a_state.agents import Agent
from agent.agent_options import MAX_INFER_ITERS, options_of
from agent.errors import InvalidParams, TurnFailed

if TYPE_CHECKING:
    from agent.agents.base import Json
    from agent.settings import Settings

_NAMESPACE = uuid.UUID("b7a0f1d2-6b58-4c0f-8f0a-52f0c1c94e11")
_SAMPLING = {
    "strategy": {"type": "greedy"},
    "max_tokens": 0,
    "repetition_penalty": 1.0,
    "stop": None,
}
_TOOL = {
    "toolgroup_id": None,
    "name": "",
    "description": None,
    "input_schema": None,
    "output_schema": None,
    "metadata": None,
}


def settings_agent_id(settings: Settings) -> str:
    """Return the id of the agent of the settings, which goes with its name."""
    return str(uuid.uuid5(_NAMESPACE, settings.agent.name))


def with_defaults(config: Json) -> Json:
    """Return a configuration as it is shown, with all its fields; raises ``InvalidParams``."""
    given = {key: value for key, value in config.items() if value is not None}
    choice = given.get("tool_choice", "auto")
    shown = {
        "sampling_params": {**_SAMPLING, **given.get("sampling_params", {})},
        "input_shields": given.get("input_shields", []),
        "output_shields": given.get("output_shields", []),
        "toolgroups": given.get("toolgroups", []),
        "client_tools": [{**_TOOL, **tool} for tool in given.get("client_tools", [])],
        "tool_choice": given.get("tool_choice"),
        "tool_prompt_format": given.get("tool_prompt_format"),
        "tool_config": {
            "tool_choice": choice,
            "tool_prompt_format": given.get("tool_prompt_format"),
            "system_message_behavior": "append",
            **given.get("tool_config", {}),
        },
        "max_infer_iters": given.get("max_infer_iters", MAX_INFER_ITERS),
        "model": given.get("model"),
        "instructions": given.get("instructions"),
        "name": given.get("name"),
        "enable_session_persistence": given.get("enable_session_persistence", False),
        "response_format": given.get("response_format"),
    }
    try:
        options_of(Agent("", "", "", shown, 0))
    except TurnFailed as exc:
        raise InvalidParams("agent_config", _problem(exc)) from exc
    return shown


def config_of_settings(settings: Settings) -> Json:
    """Return the configuration of the agent of the settings, but for its model."""
    agent = settings.agent
    groups = agent.toolgroups
    if groups is None:
        groups = tuple(f"mcp::{server.name}" for server in settings.mcp_servers)
    sampling = dict(_SAMPLING) | {"max_tokens": agent.max_tokens or 0}
    if agent.temperature is not None:
        sampling["strategy"] = {"type": "top_p", "temperature": agent.temperature}
    return with_defaults(
        {
            "model": "",
            "instructions": settings.instructions,
            "name": agent.name,
            "toolgroups": [
                group if isinstance(group, str) else {"name": group.name, "args": group.args}
                for group in groups
            ],
            "client_tools": [tool.model_dump() for tool in agent.client_tools],
            "input_shields": list(agent.input_shields or ()),
            "output_shields": list(agent.output_shields),
            "max_infer_iters": agent.max_infer_iters,
            "sampling_params": sampling,
            "enable_session_persistence": True,
        }
    )


def _problem(exc: TurnFailed) -> str:
    """Say where the configuration is wrong: msgspec names types and places, and no values."""
    cause = exc.__cause__
    return str(cause) if isinstance(cause, msgspec.ValidationError) else "is not valid"
