"""The configuration of an agent for a Llama Stack: as its maker says, within what the settings allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.agents.base import Json
    from agent.settings import Settings
    from agent.stacks import Stack


async def allowed(config: Json, settings: Settings, stack: Stack) -> Json:
    """Return what ``agent.agent_options.within_rules`` makes of agents of our own; raises ``StackError``."""
    rules, own = settings.customization, settings.agent
    if rules.disable_shield_ids_override:
        checking = own.input_shields
        if checking is None:  # all that there are
            checking = tuple(shield["identifier"] for shield in await stack.shields())
        config = config | {
            "input_shields": _joined(checking, config.get("input_shields")),
            "output_shields": _joined(own.output_shields, config.get("output_shields")),
        }
    if rules.disable_query_system_prompt:
        prompts = (settings.instructions, config.get("instructions"))
        config = config | {"instructions": "\n\n".join(filter(None, prompts))}
    return config


def _joined(first: Iterable[str], then: Iterable[str] | None) -> list[str]:
    return [*dict.fromkeys((*first, *(then or ())))]
