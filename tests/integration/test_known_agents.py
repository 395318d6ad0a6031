"""What is kept of the agents of sessions: each is read once, and is its owner's alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

import pytest
from sqlalchemy import make_url

from a2a_state.agents import Agent, Agents
from a2a_state.database import connect
from a2a_state.migrate import migrate
from agent.known_agents import KEPT, KEPT_BYTES, KnownAgents
from agent.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio


class Counted(Agents):
    """Counts what is read."""

    reads = 0

    @override
    async def get(self, owner: str, tenant: str, agent_id: str) -> Agent | None:
        self.reads += 1
        return await super().get(owner, tenant, agent_id)


@pytest.fixture
async def agents() -> AsyncIterator[Counted]:
    database = connect(make_url("sqlite://"))
    await database.open()
    try:
        await migrate(database)
        yield Counted(database)
    finally:
        await database.close()


async def test_an_agent_is_read_once_and_for_its_owner_alone(agents: Counted) -> None:
    await agents.add(Agent("a-1", "ann", "", {"model": "m", "instructions": "Be brief."}, 1), 1)
    known = KnownAgents(agents, Settings())
    assert await known.get("eve", "", "a-1") is None
    for _ in range(2):
        found = await known.get("ann", "", "a-1")
        assert found is not None
        assert (found[0].instructions, found[1]) == ("Be brief.", "m")
    assert await known.get("eve", "", "a-1") is None
    assert await known.get("ann", "t", "a-1") is None
    assert agents.reads == 4


async def test_what_is_kept_is_bounded(agents: Counted) -> None:
    large = {"model": "m", "instructions": "x" * KEPT_BYTES}
    await agents.add(Agent("large", "ann", "", large, 0), 10_000)
    for number in range(KEPT + 1):
        await agents.add(Agent(f"a-{number}", "ann", "", {"model": "m"}, number), 10_000)
    known = KnownAgents(agents, Settings())
    for _ in range(2):
        await known.get("ann", "", "large")
    assert agents.reads == 2
    for number in (*range(KEPT + 1), KEPT, 0):
        await known.get("ann", "", f"a-{number}")
    assert agents.reads == 2 + KEPT + 1 + 1
