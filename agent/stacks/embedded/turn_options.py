"""What one message wants otherwise than its agent: checked, and applied to the agent's configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.errors import InvalidParams, ResourceNotFound
from agent.stacks.embedded.agent_config import KNOWLEDGE_GROUP

if TYPE_CHECKING:
    from collections.abc import Collection

    from agent.stacks.embedded.agent_config import AgentConfig
    from agent.stacks.turn import TurnOptions


def check(options: TurnOptions, store_id: str, shields: Collection[str]) -> None:
    """Raise ``RequestError`` for a vector store or a shield that there is not.

    Only ``shields``, those of the settings, can be asked for: of any other model of the model server a
    caller could have the verdict that suits.
    """
    for wanted in options.vector_store_ids or ():
        if wanted != store_id:
            raise ResourceNotFound("vector store", wanted)
    if options.shields == ():
        raise InvalidParams("shields", "must name one at least")
    unknown = [wanted for wanted in options.shields or () if wanted not in shields]
    if unknown:
        known = ", ".join(shields) or "none"
        raise InvalidParams("shields", f"there is no shield {unknown[0]}; there are: {known}")


def searches(options: TurnOptions, store_id: str) -> bool:
    """Tell whether the documents may be searched."""
    wanted = options.vector_store_ids
    return not options.no_tools and (wanted is None or store_id in wanted)


def apply(options: TurnOptions, config: AgentConfig, store_id: str) -> AgentConfig:
    """Return the configuration for one turn."""
    changes: dict[str, object] = {}
    if options.instructions is not None:
        changes["instructions"] = options.instructions
    if options.no_tools:
        changes |= {"toolgroups": (), "client_tools": ()}
    elif not searches(options, store_id):
        groups = config.groups
        changes["toolgroups"] = tuple(g for g in groups if g.provider != KNOWLEDGE_GROUP)
    if options.shields is not None:
        changes["input_shields"] = options.shields
        changes["output_shields"] = options.shields if config.output_shields else ()
    return msgspec.structs.replace(config, **changes)
