"""Owners delete what is theirs and has ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from a2a_state.deletion import CHUNK, CONTEXT_IN_USE, NOT_ENDED, Deletion
from a2a_state.push_configs import ACTIVE, push_configs
from a2a_state.retention import Purge
from a2a_state.tables import contexts, message_keys, task_events, tasks
from a2a_state.tasks import Tasks
from agent.errors import (
    AgentError,
    ContextNotFound,
    TaskNotFound,
    TaskTaken,
    UnsupportedOperation,
)
from tests.fakes.kept import (
    add,
    add_session,
    context,
    event,
    key,
    left,
    push_config,
    task,
    task_id,
    task_ids,
)
from tests.fakes.state import open_database
from tests.fakes.statements import statements

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio

AT = 1_800_000_000_000
LATER = 2**53
WAITING: dict[str, Any] = {"state": "TASK_STATE_INPUT_REQUIRED", "ended_at": None}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


async def test_a_task_goes_with_all_that_belongs_to_it(database: Database) -> None:
    """Also the key of its message, which was sent a while before; what is another's stays."""
    this, other = task_id(AT), task_id(AT, 1)
    await add(database, contexts, context(1))
    await add(database, tasks, task(AT, ended_at=AT + 5_000), task(AT, 1))
    await add(database, task_events, event(this), event(other))
    configs = [push_config(this, ACTIVE), push_config(other, ACTIVE)]
    await add(database, push_configs, *configs, push_config(this, ACTIVE, owner="bob"))
    await add(
        database,
        message_keys,
        key(AT - 20_000, "key:1", this),
        key(AT + 6_000, "key:2", this),
        key(AT, "key:3", other),
        key(AT, "key:1", this, owner="bob"),
    )

    await Deletion(database).task("ann", "", this)

    assert await task_ids(database) == [other]
    names = await database.read(lambda c: set(c.execute(select(message_keys.c.key)).scalars()))
    assert names == {"key:3", "key:1"}
    assert await left(database) == {
        "tasks": 1,
        "task_events": 1,
        "contexts": 1,
        "message_keys": 2,
        "push_configs": 2,
    }
    used = await database.read(lambda c: c.execute(select(contexts.c.used_at)).scalar())
    assert used == AT + 5_000


@pytest.mark.parametrize(
    ("owner", "tenant", "number"), [("bob", "", 0), ("ann", "x", 0), ("ann", "", 1), ("", "", 0)]
)
async def test_what_is_not_the_owners_is_not_there(
    database: Database, owner: str, tenant: str, number: int
) -> None:
    await add(database, tasks, task(AT), task(AT, 2, owner="bob", context_id="bob's"))
    await add(database, contexts, context(1, "bob's", owner="bob"))
    before = await left(database)

    with pytest.raises(TaskNotFound):
        await Deletion(database).task(owner, tenant, task_id(AT, number))
    for context_id in ("nothing", "bob's" if owner != "bob" else "context"):
        with pytest.raises(TaskNotFound):
            await Deletion(database).context(owner, tenant, context_id)

    assert await left(database) == before


@pytest.mark.parametrize("state", ["SUBMITTED", "WORKING", "INPUT_REQUIRED", "AUTH_REQUIRED"])
async def test_what_has_not_ended_is_canceled_first(database: Database, state: str) -> None:
    """Then nothing of its context is deleted either."""
    alive: dict[str, Any] = {"state": f"TASK_STATE_{state}", "ended_at": None}
    await add(database, tasks, task(AT, **alive), task(AT, 1))
    await add(database, contexts, context(1))

    with pytest.raises(UnsupportedOperation, match=NOT_ENDED):
        await Deletion(database).task("ann", "", task_id(AT))
    with pytest.raises(UnsupportedOperation, match=CONTEXT_IN_USE):
        await Deletion(database).context("ann", "", "context")

    assert await left(database) == {"tasks": 2, "contexts": 1}


async def test_a_context_goes_with_its_tasks_and_its_session(database: Database) -> None:
    """Contexts of the same name of other owners and tenants stay."""
    others = ({"owner": "bob"}, {"tenant": "x"}, {"context_id": "other"})
    for number, mine in enumerate(({}, *others)):
        of = f"session {number}"
        await add(database, contexts, context(1, **{"conversation_id": of, **mine}))
        await add(database, tasks, task(AT, number, **mine), task(AT, 100 + number, **mine))
        await add(database, task_events, event(task_id(AT, number)))
        await add_session(database, of, str(mine.get("owner", "ann")))
    await add(database, message_keys, key(AT, "key:1", task_id(AT)), key(AT, "key:2", "another"))

    await Deletion(database).context("ann", "", "context")

    assert await left(database) == {
        "contexts": 3,
        "tasks": 6,
        "task_events": 3,
        "sessions": 3,
        "turns": 3,
        "message_keys": 1,
    }


async def test_a_context_may_have_tasks_only_or_a_conversation_only(database: Database) -> None:
    await add(database, contexts, context(1, "talk"))
    await add(database, tasks, task(AT, context_id="work"))

    await Deletion(database).context("ann", "", "talk")
    await Deletion(database).context("ann", "", "work")

    assert await left(database) == {}
    for context_id in ("talk", "work"):
        with pytest.raises(TaskNotFound):
            await Deletion(database).context("ann", "", context_id)


@pytest.mark.parametrize("count", [CHUNK, CHUNK * 2 + 1])
async def test_a_large_context_goes_in_several_transactions(database: Database, count: int) -> None:
    await add(database, contexts, context(1))
    await add(database, tasks, *(task(AT, number) for number in range(count)))

    with statements(database) as sent:
        await Deletion(database).context("ann", "", "context")

    deletions = [statement for statement, _ in sent if statement.startswith("DELETE FROM tasks")]
    assert len(deletions) == -(-count // CHUNK)
    assert await left(database) == {}


async def outcomes(*jobs: Any) -> list[type[AgentError] | None]:
    """Run all at once; returns which errors they ended with."""
    ended = await asyncio.gather(*jobs, return_exceptions=True)
    errors = [each for each in ended if isinstance(each, BaseException)]
    assert all(isinstance(error, AgentError) for error in errors), errors
    return [type(each) if isinstance(each, AgentError) else None for each in ended]


async def test_a_task_is_deleted_once(database: Database) -> None:
    await add(database, tasks, task(AT))

    ended = await outcomes(*(Deletion(database).task("ann", "", task_id(AT)) for _ in range(6)))

    assert ended.count(None) == 1
    assert ended.count(TaskNotFound) == 5


async def test_several_delete_one_context_while_what_is_old_is_deleted_too(
    database: Database,
) -> None:
    """None of them waits for another for ever, and in the end all is gone."""
    await add(database, contexts, context(1))
    await add(database, tasks, *(task(AT, number) for number in range(CHUNK * 2)))

    ended = await outcomes(
        *(Deletion(database).context("ann", "", "context") for _ in range(4)),
        *(Purge(database).tasks(AT + 1) for _ in range(2)),
    )

    assert set(ended) <= {None, ContextNotFound}
    assert await left(database) == {}


async def test_a_task_that_somebody_goes_on_with_at_that_moment_is_not_deleted(
    database: Database,
) -> None:
    await add(database, tasks, task(AT, **WAITING))
    await add(database, contexts, context(1))
    stored = await Tasks(database).get("ann", "", task_id(AT))
    assert stored is not None

    ended = await outcomes(
        Deletion(database).context("ann", "", "context"),
        Tasks(database).take(stored.row, "here", LATER),
        Deletion(database).task("ann", "", task_id(AT)),
        Tasks(database).take(stored.row, "there", LATER),
    )

    assert ended[::2] == [UnsupportedOperation] * 2
    assert sorted(map(str, ended[1::2])) == sorted(map(str, [None, TaskTaken]))
    assert await left(database) == {"tasks": 1, "contexts": 1}
