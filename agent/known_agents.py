"""The agents of sessions, kept as a stack is told of them: no agent ever changes."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from agent.agent_options import options_of, within_rules

if TYPE_CHECKING:
    from a2a_state.agents import Agents
    from agent.settings import Settings
    from agent.stacks import AgentOptions

KEPT = 256
"""Most agents that are kept: those that answered last."""
KEPT_BYTES = 32 * 1024
"""Most bytes of the configuration of one that is kept."""


class KnownAgents:
    """What is asked of each turn in a session, and read once.

    An agent is deleted after its sessions: who has found one of these may still be told of it.
    """

    def __init__(self, agents: Agents, settings: Settings) -> None:
        """Know none."""
        self._agents = agents
        self._settings = settings
        self._kept: OrderedDict[tuple[str, str, str], tuple[AgentOptions, str]] = OrderedDict()

    async def get(self, owner: str, tenant: str, agent_id: str) -> tuple[AgentOptions, str] | None:
        """Return the options of the owner's agent, and its model; raises ``TurnFailed`` for no agent."""
        key = owner, tenant, agent_id
        if known := self._kept.get(key):
            self._kept.move_to_end(key)
            return known
        agent = await self._agents.get(*key)
        if agent is None:
            return None
        options, model = options_of(agent)
        known = within_rules(options, self._settings), model
        if len(msgspec.json.encode(agent.agent_config)) <= KEPT_BYTES:
            self._kept[key] = known
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return known
