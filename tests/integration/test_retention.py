"""What is too old is deleted, and nothing else."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
from sqlalchemy import select, update

from a2a_state.job_table import jobs
from a2a_state.push_configs import ACTIVE, DEAD, DONE, push_configs
from a2a_state.retention import CHUNK, JOBS_CHUNK, SLICE
from a2a_state.tables import contexts, message_keys, task_events, tasks
from agent.errors import StateUnavailable
from agent.retention import Purged, Retention
from agent.settings.retention import Retention as RetentionSettings
from tests.fakes.kept import (
    DAY,
    add,
    add_session,
    context,
    event,
    job,
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
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import Connection

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000_000
LONG_AGO = NOW - 100 * DAY
TASKS_BEFORE, CONTEXTS_BEFORE = NOW - 30 * DAY, NOW - 90 * DAY


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


def sweep(database: Database, **changes: Any) -> Any:
    """Delete what is too old now, with the default times or others."""
    return Retention(database, RetentionSettings(**changes)).sweep(NOW)


async def test_a_task_goes_some_time_after_its_end_with_all_that_belongs_to_it(
    database: Database,
) -> None:
    old, young = TASKS_BEFORE - 1, TASKS_BEFORE
    await add(database, tasks, task(old), task(young))
    await add(database, task_events, event(task_id(old)), event(task_id(young)))
    configs = [push_config(task_id(at), DONE) for at in (old, young)]
    await add(database, push_configs, *configs)

    assert await sweep(database) == Purged(tasks=1)

    assert await task_ids(database) == [task_id(young)]
    assert await left(database) == {"tasks": 1, "task_events": 1, "push_configs": 1}


async def test_what_counts_is_the_end_of_a_task_and_not_its_beginning(database: Database) -> None:
    await add(
        database, tasks, task(LONG_AGO, ended_at=TASKS_BEFORE), task(LONG_AGO + 1, ended_at=NOW)
    )

    assert await sweep(database) == Purged()
    assert await sweep(database, tasks_days=29.5) == Purged(tasks=1)


@pytest.mark.parametrize("state", ["WORKING", "SUBMITTED", "INPUT_REQUIRED", "AUTH_REQUIRED"])
async def test_a_task_that_has_not_ended_is_kept_for_ever(database: Database, state: str) -> None:
    await add(database, tasks, task(LONG_AGO, state=f"TASK_STATE_{state}", ended_at=None))
    await add(database, contexts, context(LONG_AGO))

    assert await sweep(database) == Purged()


async def test_a_task_is_kept_until_its_webhooks_have_heard_of_its_end(database: Database) -> None:
    """One that is given up does not count; other tasks and another owner's task do not either."""
    ids = [task_id(LONG_AGO, number) for number in range(4)]
    await add(database, tasks, *(task(LONG_AGO, number) for number in range(4)))
    await add(
        database,
        push_configs,
        push_config(ids[0], DEAD),
        push_config(ids[1], ACTIVE),
        push_config(ids[1], DEAD, config_id="other"),
        push_config(ids[2], ACTIVE, owner="bob"),
        push_config(ids[3], ACTIVE, delivered_seq=1),
    )

    assert await sweep(database) == Purged(tasks=3)
    assert await task_ids(database) == [ids[1]]

    await database.write(lambda c: c.execute(update(push_configs).values(state=DONE)))
    assert await sweep(database) == Purged(tasks=1)
    assert await left(database) == {"push_configs": 1}


async def test_many_tasks_go_a_few_at_a_time(database: Database) -> None:
    """Those that stay in between hold nothing up."""
    await add(
        database,
        tasks,
        *(
            task(LONG_AGO + number, ended_at=None if number % 10 == 0 else LONG_AGO)
            for number in range(CHUNK * 2)
        ),
        *(task(NOW + number) for number in range(10)),
    )

    with statements(database) as sent:
        assert await sweep(database) == Purged(tasks=CHUNK * 2 * 9 // 10)

    deletions = [statement for statement, _ in sent if statement.startswith("DELETE FROM tasks")]
    assert len(deletions) == 2
    assert await left(database) == {"tasks": CHUNK // 5 + 10}


async def test_tasks_that_are_too_young_are_not_even_looked_at(database: Database) -> None:
    """Ids of tasks begin with the time, so that no index of times must be written."""
    with statements(database) as sent:
        await sweep(database)

    (looked,) = (each for each in sent if "FROM tasks" in each[0] and "contexts" not in each[0])
    explain = "EXPLAIN QUERY PLAN" if database.dialect == "sqlite" else "EXPLAIN"

    def plan(connection: Connection) -> str:
        if database.dialect == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        return str(connection.exec_driver_sql(f"{explain} {looked[0]}", looked[1]).all())

    steps = await database.write(plan)
    assert "pk_tasks" in steps or "task_id>? AND task_id<?" in steps


async def test_a_context_goes_when_it_has_no_tasks_and_was_not_used_for_long(
    database: Database,
) -> None:
    """With what the embedded stack remembers of it; of other owners and stacks nothing is touched."""
    await add(
        database,
        contexts,
        context(CONTEXTS_BEFORE - 1, "old"),
        context(CONTEXTS_BEFORE, "young"),
        context(LONG_AGO, "busy"),
        context(LONG_AGO, "done a while ago"),
        context(LONG_AGO, "elsewhere", conversation_id="session of bob", stack="other"),
    )
    await add(
        database,
        tasks,
        task(NOW - 1, context_id="busy", ended_at=None),
        task(NOW - 2, context_id="done a while ago"),
        task(NOW - 3, context_id="old", owner="bob"),
        task(NOW - 4, context_id="old", tenant="x"),
    )
    for name in ("old", "young", "busy"):
        await add_session(database, f"session of {name}")
    await add_session(database, "session of bob", "bob")

    assert await sweep(database) == Purged(contexts=2)

    query = select(contexts.c.context_id).order_by(contexts.c.context_id)
    kept = await database.read(lambda c: list(c.execute(query).scalars()))
    assert kept == ["busy", "done a while ago", "young"]
    assert await left(database) == {"contexts": 3, "tasks": 4, "sessions": 3, "turns": 3}


async def test_a_context_whose_tasks_are_gone_was_used_when_the_last_of_them_ended(
    database: Database,
) -> None:
    last_use = CONTEXTS_BEFORE + DAY
    await add(database, contexts, context(LONG_AGO), context(LONG_AGO, "other"))
    ends = [LONG_AGO, last_use, LONG_AGO]
    rows = [task(LONG_AGO, number, ended_at=end) for number, end in enumerate(ends)]
    await add(database, tasks, *rows)

    assert await sweep(database) == Purged(tasks=3, contexts=1)

    (kept,) = await database.read(lambda c: c.execute(select(contexts)).all())
    assert (kept.context_id, kept.used_at) == ("context", last_use)
    assert await sweep(database, contexts_days=88.9) == Purged(contexts=1)


async def test_the_last_use_of_a_context_is_never_set_back(database: Database) -> None:
    await add(database, contexts, context(LONG_AGO, used_at=TASKS_BEFORE))
    await add(database, tasks, task(LONG_AGO))

    assert await sweep(database) == Purged(tasks=1)

    assert await database.read(lambda c: c.execute(select(contexts.c.used_at)).scalar()) == (
        TASKS_BEFORE
    )


async def test_of_very_many_contexts_some_are_looked_at_in_each_round(database: Database) -> None:
    """Then it begins anew."""
    more = 50
    for first in range(0, SLICE, 2_000):
        rows = [context(NOW, f"{number:06}") for number in range(first, first + 2_000)]
        await add(database, contexts, *rows)
    await add(database, contexts, *(context(LONG_AGO, f"z{number}") for number in range(more)))
    retention = Retention(database, RetentionSettings())

    assert await retention.sweep(NOW) == Purged()
    assert await retention.sweep(NOW) == Purged(contexts=more)
    assert await retention.sweep(NOW) == Purged()
    await add(database, contexts, context(LONG_AGO, "000000a"))
    assert sum([(await retention.sweep(NOW)).contexts for _ in range(2)]) == 1


async def test_a_message_is_known_again_for_some_hours(database: Database) -> None:
    day_ago = NOW - DAY
    many = [key(LONG_AGO, f"key:{number}") for number in range(CHUNK + 1)]
    await add(database, message_keys, key(day_ago, "in time"), key(day_ago - 1, "late"), *many)

    assert await sweep(database) == Purged(message_keys=CHUNK + 2)

    names = await database.read(lambda c: list(c.execute(select(message_keys.c.key)).scalars()))
    assert names == ["in time"]
    assert await sweep(database, idempotency_hours=23.9) == Purged(message_keys=1)


async def test_an_evaluation_goes_some_time_after_its_end_and_a_training_never(
    database: Database,
) -> None:
    many = [job(f"old-{number}", LONG_AGO) for number in range(JOBS_CHUNK + 1)]
    young, runs = job("young", TASKS_BEFORE), job("runs", LONG_AGO, ended_at=None)
    await add(database, jobs, *many, young, runs, job("model", LONG_AGO, kind="training"))

    assert await sweep(database, jobs_days=None) == Purged()
    assert await sweep(database) == Purged(jobs=len(many))

    names = await database.read(lambda c: set(c.execute(select(jobs.c.job_id)).scalars()))
    assert names == {"young", "runs", "model"}


async def test_what_has_no_time_is_kept_for_ever(database: Database) -> None:
    await add(database, tasks, task(1))
    await add(database, contexts, context(1, "unused"))

    assert await sweep(database, tasks_days=None, contexts_days=None) == Purged()
    assert await sweep(database, tasks_days=None) == Purged(contexts=1)
    assert await sweep(database, contexts_days=None) == Purged(tasks=1)


async def test_several_servers_delete_at_once(database_url: str) -> None:
    """Each row is deleted, and counted, once; none of them fails."""
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(open_database(database_url))]
        if database_url != "sqlite://":
            replicas += [
                await stack.enter_async_context(open_database(database_url)) for _ in range(3)
            ]
        many = range(CHUNK * 5)
        await add(
            replicas[0],
            tasks,
            *(task(LONG_AGO + n, context_id=f"{n % 7}") for n in many),
        )
        await add(replicas[0], contexts, *(context(LONG_AGO, f"{n}") for n in range(CHUNK * 2)))
        await add(replicas[0], message_keys, *(key(LONG_AGO, f"{n}") for n in many))

        purged = await asyncio.gather(*(sweep(each) for each in (replicas * 4)[:4]))

        total = Purged(*(sum(getattr(p, f) for p in purged) for f in Purged.__struct_fields__))
        rest = await sweep(replicas[0])
        assert total.tasks + rest.tasks == len(many)
        assert total.message_keys + rest.message_keys == len(many)
        assert total.contexts + rest.contexts == CHUNK * 2
        assert await left(replicas[0]) == {}


class Away:
    """A database that cannot be reached the first times."""

    def __init__(self, database: Database, times: int) -> None:
        """Stand in front of ``database``."""
        self._database = database
        self._times = times
        self.back = anyio.Event()

    async def read[T](self, work: Callable[[Connection], T]) -> T:
        """Read."""
        return await self._database.read(work)

    async def write[T](self, work: Callable[[Connection], T]) -> T:
        """Write, unless it is away."""
        self._times -= 1
        if self._times >= 0:
            raise StateUnavailable
        written = await self._database.write(work)
        self.back.set()
        return written


async def test_it_goes_on_when_the_database_is_back(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it is closed."""
    at = 1_000_000
    await add(database, tasks, task(at))
    away = Away(database, 3)
    retention = Retention(cast("Any", away), RetentionSettings(), every=0.001)

    with caplog.at_level(logging.INFO):
        await retention.open()
        with anyio.fail_after(5):
            await away.back.wait()
        await retention.close()

    assert await task_ids(database) == []
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 3
    await add(database, tasks, task(at))
    for _ in range(10):
        await asyncio.sleep(0)
    assert await task_ids(database) == [task_id(at)]
