"""What goes wrong on this side of a webhook delays it, and loses nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
from sqlalchemy import update

from a2a_state.database import SqliteDatabase
from a2a_state.push_configs import PushConfigs, push_configs
from a2a_state.tasks import LogRow, Tasks
from agent.errors import StateError, StateUnavailable
from agent.model import PushAuthentication, TaskState
from agent.push.dispatch import WATCHED, Dispatch
from agent.push.push import Push
from tests.fakes.state import open_journal
from tests.fakes.webhooks import ANN, Clock, Story, config, open_push, rests, serve, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import Connection

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio


class Flaky(SqliteDatabase):
    """A database in memory; ``trouble`` is raised by the next reads or writes of webhooks."""

    def __init__(self) -> None:
        from sqlalchemy.engine import make_url

        super().__init__(make_url("sqlite://"))
        self.reads: list[Exception] = []
        self.writes: list[Exception] = []

    async def read[T](self, work: Callable[[Connection], T]) -> T:
        """Fail, or read."""
        if self.reads:
            raise self.reads.pop(0)
        return await super().read(work)

    async def write[T](self, work: Callable[[Connection], T]) -> T:
        """Fail, or write."""
        if self.writes:
            raise self.writes.pop(0)
        return await super().write(work)


@pytest.fixture
async def database() -> AsyncIterator[Flaky]:
    """Return an open database with all tables."""
    from a2a_state.migrate import migrate

    opened = Flaky()
    await opened.open()
    await migrate(opened)
    yield opened
    await opened.close()


@pytest.fixture
async def story(database: Database) -> AsyncIterator[Story]:
    """Return a task that nobody has heard of."""
    async with open_journal(database) as journal:
        yield Story(journal)


@pytest.mark.parametrize("error", [StateUnavailable(), ValueError("a fault of ours")], ids=repr)
async def test_after_trouble_in_looking_for_news_it_is_looked_for_again(
    database: Flaky, story: Story, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as webhook, open_push(database) as push:
        await push.create(ANN, config(webhook.url))
        await story.begin()
        database.reads = [error]
        push.wake("task")
        with anyio.fail_after(5):
            while database.reads:
                await anyio.lowlevel.checkpoint()
        push.wake("task")

        assert await webhook.hears(1) == ["submitted"]
    assert len(caplog.records) == 1


async def test_what_was_sent_and_could_not_be_written_down_is_sent_again(
    database: Flaky, story: Story
) -> None:
    """When the lease has run out."""
    clock = Clock()

    async def lose_the_database() -> int:
        database.writes = [StateUnavailable()]
        return 204

    async with serve(lose_the_database) as webhook:
        async with open_push(database, clock=clock) as push:
            await push.create(ANN, config(webhook.url))
            await story.begin()
            push.wake("task")
            await webhook.hears(1)
            with anyio.fail_after(5):
                while database.writes:
                    await anyio.lowlevel.checkpoint()
        clock.now += 60_000
        async with open_push(database, clock=clock):
            assert await webhook.hears(2) == ["submitted", "submitted"]

    first, second = webhook.posted
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def test_a_failure_that_cannot_be_written_down_waits_for_its_lease(
    database: Flaky, story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    async def lose_the_database() -> int:
        database.writes = [StateError()]
        return 500

    async with serve(lose_the_database) as webhook, open_push(database) as push:
        await push.create(ANN, config(webhook.url))
        await story.begin()
        push.wake("task")
        await webhook.hears(1)
        with anyio.fail_after(5):
            while not caplog.records:
                await anyio.lowlevel.checkpoint()

        (row,) = await PushConfigs(database).of_state("active")
    assert row.delivered_seq == 0
    assert row.lease_until > 0


async def test_a_fault_of_ours_is_counted_like_one_of_the_webhook(
    database: Flaky, story: Story
) -> None:
    async with serve() as webhook, open_push(database, settings(attempts=2)) as push:
        given = PushAuthentication(("Bearer",), "c")
        await push.create(ANN, config(webhook.url, authentication=given))
        await story.begin()
        spoilt = update(push_configs).values(authentication=b"?")
        await database.write(lambda c: c.execute(spoilt))
        push.wake("task")

        row = await rests(database, state="dead")

    assert (row.attempts, row.last_error) == (2, "internal error")
    assert webhook.posted == []


class SlowTasks(Tasks):
    """Reading a log takes an hour, and if need be another takes the webhook meanwhile."""

    def __init__(self, database: Database, clock: Clock, *, is_robbed: bool) -> None:
        super().__init__(database)
        self.reads = 0
        self._configs = PushConfigs(database)
        self._clock = clock
        self._is_robbed = is_robbed

    async def log(self, owner: str, tenant: str, task_id: str, after: int) -> list[LogRow]:
        """Take an hour."""
        self.reads += 1
        self._clock.now += 3_600_000
        if self._is_robbed:
            (row,) = await self._configs.of_state(None)
            await self._configs.claim(row, 2**53)
        return await super().log(owner, tenant, task_id, after)


@pytest.mark.parametrize("is_robbed", [False, True])
async def test_a_lease_that_has_run_out_is_renewed_before_a_call_or_there_is_none(
    database: Flaky, story: Story, is_robbed: bool
) -> None:
    clock = Clock()
    async with serve() as webhook:
        tasks = SlowTasks(database, clock, is_robbed=is_robbed)
        push = Push(settings(), database, tasks, clock=clock)
        await push.open()
        await push.create(ANN, config(webhook.url))
        await story.tell(story.task(TaskState.WORKING))
        push.wake("task")
        with anyio.fail_after(5):
            while not tasks.reads:
                await anyio.lowlevel.checkpoint()
            if not is_robbed:
                await webhook.hears(1)
        await push.close()

    (row,) = await PushConfigs(database).of_state(None)
    assert (row.lease_until == 2**53) is is_robbed
    assert len(webhook.posted) == (not is_robbed)


async def test_so_many_tasks_are_remembered_to_have_webhooks_and_the_rest_is_found_later() -> None:
    dispatch = Dispatch(cast("Any", None), cast("Any", None), 1, Clock())
    for number in range(WATCHED + 1):
        dispatch.watch(f"task-{number}")

    dispatch.wake("task-0")
    assert not dispatch._awake.is_set()
    dispatch.wake("task-1")
    assert dispatch._awake.is_set()


async def test_nothing_is_logged_when_all_is_well(
    database: Flaky, story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody who sends a thousand webhooks a minute wants to read the log all the same."""
    caplog.set_level(logging.INFO)
    async with serve(500) as webhook, open_push(database) as push:
        await push.create(ANN, config(webhook.url))
        await story.begin()
        await story.end()
        push.wake("task")
        await webhook.hears(3)
        await rests(database, state="done")

    assert [record for record in caplog.records if not record.name.startswith("uvicorn")] == []
