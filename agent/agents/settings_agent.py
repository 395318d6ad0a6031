"""The agent of the settings, which everybody has."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from a2a_state.agents import Agent
from agent.agents.agent_config import config_of_settings, settings_agent_id
from agent.clock import now
from agent.default_model import default_model
from agent.errors import AgentError
from agent.stacks.offered import Remembered

if TYPE_CHECKING:
    from a2a_state.agents import Agents
    from agent.settings import Settings
    from agent.stacks import Stack

logger = logging.getLogger(__name__)

SECONDS = 5.0
"""How long the stack may take to tell which model answers."""


class SettingsAgent:
    """Tells what it is like; its ``agent_id`` goes with its name."""

    def __init__(self, settings: Settings, agents: Agents, stack: Stack) -> None:
        """Nothing is asked yet."""
        self.agent_id = settings_agent_id(settings)
        self._settings = settings
        self._agents = agents
        self._stack = stack
        self._model = Remembered(self._asked)
        self._began: int | None = None

    async def get(self) -> Agent:
        """Return it with the model that answers; its time is when it was first asked for."""
        agent = Agent(self.agent_id, "", "", config_of_settings(self._settings), now())
        if self._began is None:
            self._began = await self._agents.began(agent)
        # A stack that has no names for its models answers all the same.
        model = await self._named() or self._settings.agent.name
        config = agent.agent_config | {"model": model}
        return msgspec.structs.replace(agent, agent_config=config, created_at=self._began)

    async def _named(self) -> str | None:
        try:
            async with asyncio.timeout(SECONDS):
                return await self._model.get()
        except (AgentError, TimeoutError):
            logger.warning("The stack does not tell which model answers", exc_info=True)
            return None

    async def _asked(self) -> str | None:
        return await default_model(self._settings, self._stack)
