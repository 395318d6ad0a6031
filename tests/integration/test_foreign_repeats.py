"""A message to another's task is not one that was sent before, however often and at once it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anyio
import pytest

from agent.caller import Caller
from agent.errors import AgentError, TaskNotFound
from agent.stacks import TextDelta
from tests.fakes.engine import engine, message
from tests.fakes.scripted_stack import Script
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio

EVE = Caller("eve")
ELSEWHERE = Caller("ann", "red")
MANY = 40


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Yield an empty database of each kind."""
    async with open_database(database_url) as opened:
        yield opened


@pytest.mark.parametrize("caller", [EVE, ELSEWHERE], ids=["owner", "tenant"])
@pytest.mark.parametrize("operation", ["send", "stream"])
@pytest.mark.parametrize("key", [None, "key"], ids=["message-id", "idempotency-key"])
async def test_no_one_hears_of_anothers_running_task(
    database: Database, caller: Caller, operation: str, key: str | None
) -> None:
    """The first of them makes a claim before it is refused; the others must not take it for more."""
    script = Script([TextDelta("secret"), anyio.Event()])
    async with engine(script, database, a2a={"tenants": ["red"]}) as running:
        said = str(uuid4())
        task = await running.send(return_immediately=True, message_id=said)
        await running.stored(task.id, "secret")
        stolen = message(
            "hi", message_id=said, task_id=task.id, idempotency_key=key, tenant=caller.tenant
        )
        answers: list[Any] = []

        async def steal() -> None:
            try:
                answers.append(await getattr(running.service, operation)(caller, stolen))
            except AgentError as exc:
                answers.append(type(exc))

        async with anyio.create_task_group() as group:
            for _ in range(MANY):
                group.start_soon(steal)

        assert answers == [TaskNotFound] * MANY
        run = running.run_of(task.id)
        assert run is not None
        assert not run.settled
        assert running.runner.run_of(caller.owner, caller.tenant, task.id) is None
