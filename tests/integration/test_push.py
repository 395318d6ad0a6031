"""Webhooks hear of everything that happens to a task, in order and at least once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from a2a_state.push_configs import PushConfigs
from agent.model import TaskState
from tests.fakes.state import open_database, open_journal
from tests.fakes.webhooks import ANN, Clock, Story, config, open_push, rests, serve, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database
    from a2a_state.journal import Journal

pytestmark = pytest.mark.anyio

WORKING, FAILED = TaskState.WORKING, TaskState.FAILED
MINUTE = 60_000


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Return an open database with all tables."""
    async with open_database(database_url) as opened:
        yield opened


@pytest.fixture
async def journal(database: Database) -> AsyncIterator[Journal]:
    """Return a running journal."""
    async with open_journal(database) as opened:
        yield opened


@pytest.fixture
async def story(journal: Journal) -> Story:
    """Return a task that nobody has heard of."""
    return Story(journal)


async def test_a_webhook_that_came_with_the_message_hears_all_of_the_task(
    database: Database, story: Story
) -> None:
    """It is stored before the task is."""
    async with serve() as webhook, open_push(database) as push:
        await push.create(ANN, config(webhook.url))
        await story.begin()
        push.wake("task")
        assert await webhook.hears(1) == ["submitted"]
        await story.tell(story.status(WORKING))
        push.wake("task")
        assert await webhook.hears(2) == ["submitted", "working"]
        await story.tell(*story.artifact("Hel", "lo"), story.status(TaskState.COMPLETED))
        push.wake("task")

        assert await webhook.hears(4) == ["submitted", "working", "Hello", "completed"]
        row = await rests(database, state="done")

    assert row.delivered_seq == story.seq == 5
    assert len({each.headers["webhook-id"] for each in webhook.posted}) == 4


async def test_a_webhook_that_comes_later_hears_what_happens_from_then_on(
    database: Database, story: Story
) -> None:
    """An artifact that is half done is heard whole."""
    async with serve() as webhook, open_push(database) as push:
        await story.begin()
        first, *rest = story.artifact("Hel", "l", "o")
        await story.tell(story.status(WORKING), first)
        await push.create(ANN, config(webhook.url))
        await story.tell(*rest, story.status(TaskState.COMPLETED))
        push.wake("task")

        assert await webhook.hears(2) == ["Hello", "completed"]


async def test_nothing_is_sent_of_a_task_that_has_ended(database: Database, story: Story) -> None:
    async with serve() as webhook, open_push(database) as push:
        await story.begin()
        await story.end()
        await push.create(ANN, config(webhook.url))
        push.wake("task")

        assert await PushConfigs(database).due(2**53, 10) == []
        (row,) = await PushConfigs(database).of_state("done")
        assert row.delivered_seq == 2
    assert webhook.posted == []


async def test_all_webhooks_of_a_task_hear_it(database: Database, story: Story) -> None:
    async with serve() as one, serve() as other, open_push(database) as push:
        await push.create(ANN, config(one.url))
        await push.create(ANN, config(other.url))
        await story.begin()
        await story.end()
        push.wake("task")

        assert await one.hears(2) == await other.hears(2) == ["submitted", "completed"]


@pytest.mark.parametrize("failure", [500, 404, 301, (429, {"Retry-After": "0"})], ids=str)
async def test_what_was_not_taken_is_sent_again_before_anything_else(
    database: Database, story: Story, failure: Any
) -> None:
    """In order, and under the same id."""
    async with serve(204, failure, failure) as webhook, open_push(database) as push:
        await push.create(ANN, config(webhook.url))
        await story.tell(story.task(), story.status(WORKING))
        await story.end()
        push.wake("task")

        heard = await webhook.hears(5)
        row = await rests(database, state="done")

    assert heard == ["submitted", "working", "working", "working", "completed"]
    ids = [each.headers["webhook-id"] for each in webhook.posted]
    assert ids[1] == ids[2] == ids[3]
    assert len(set(ids)) == 3
    assert (row.attempts, row.last_error) == (0, None)


async def test_a_webhook_that_hangs_is_tried_again_and_delays_nobody(
    database: Database, story: Story
) -> None:
    hanging = asyncio.Event()

    async def hang() -> int:
        await hanging.wait()
        return 204

    quick = settings(timeout_seconds=0.2)
    async with serve(hang) as slow, serve() as other, open_push(database, quick) as push:
        await push.create(ANN, config(slow.url, id="slow"))
        await push.create(ANN, config(other.url, id="other"))
        await story.begin()
        await story.end()
        push.wake("task")

        assert await other.hears(2) == ["submitted", "completed"]
        assert await slow.hears(3) == ["submitted", "submitted", "completed"]
        hanging.set()


async def test_a_webhook_that_is_away_is_tried_again(database: Database, story: Story) -> None:
    """Until somebody listens there."""
    async with serve() as webhook:
        url = webhook.url
    async with open_push(database, settings(attempts=3)) as push:
        await push.create(ANN, config(url))
        await story.begin()
        push.wake("task")

        row = await rests(database, state="dead")

    assert (row.attempts, row.last_error, row.delivered_seq) == (3, "connection", 0)


async def test_what_was_left_when_the_server_stopped_is_sent_after_the_next_start(
    database: Database, story: Story
) -> None:
    async with serve(204, 500) as webhook:
        lazy = settings(backoff_seconds=3600.0, backoff_max_seconds=3600.0)
        clock = Clock()
        async with open_push(database, lazy, clock=clock) as push:
            await push.create(ANN, config(webhook.url))
            await story.begin()
            await story.tell(story.status(WORKING))
            push.wake("task")
            await rests(database, attempts=1, delivered_seq=1)
        await story.end()
        clock.now += 3_600_000
        async with open_push(database, lazy, clock=clock):
            heard = await webhook.hears(4)

    assert heard == ["submitted", "working", "working", "completed"]


async def test_a_call_that_was_begun_may_end_when_the_server_stops(
    database: Database, story: Story
) -> None:
    """What is new by then is left for the next start."""
    closing = asyncio.Event()

    async def answer() -> int:
        await closing.wait()
        return 204

    async with serve(answer) as webhook:
        async with open_push(database) as push:
            await push.create(ANN, config(webhook.url))
            await story.begin()
            await story.end()
            push.wake("task")
            await webhook.hears(1)
            asyncio.get_running_loop().call_soon(closing.set)
        row = await rests(database)
        assert (row.state, row.delivered_seq) == ("active", 1)
        async with open_push(database):
            assert await webhook.hears(2) == ["submitted", "completed"]


async def test_a_webhook_of_a_server_that_was_killed_is_taken_over_when_its_lease_has_run_out(
    database: Database, story: Story
) -> None:
    """And not before."""
    clock, configs = Clock(), PushConfigs(database)
    async with serve() as webhook:
        async with open_push(database, clock=clock) as push:
            await push.create(ANN, config(webhook.url))
        await story.begin()
        # The server that took it was killed before it sent anything.
        (due,) = await configs.due(clock(), 10)
        assert await configs.claim(due, clock() + MINUTE)
        clock.now += MINUTE
        async with open_push(database, clock=clock) as push:
            assert await configs.due(clock(), 10) == []
            clock.now += 1
            await push.create(ANN, config(webhook.url, id="wakes"))
            push.wake("task")
            assert await webhook.hears(1) == ["submitted"]


async def test_two_servers_on_one_database_send_each_event_once(
    database: Database, journal: Journal
) -> None:
    stories = [Story(journal, f"task-{number}") for number in range(20)]
    async with serve() as webhook, open_push(database) as one, open_push(database) as other:
        for story in stories:
            for push in (one, other):
                await push.create(ANN, config(webhook.url, story.task_id, id="same"))
            await story.begin()
            await story.tell(*story.artifact("Hel", "lo"))
            await story.end()
        for story in stories:
            one.wake(story.task_id)
            other.wake(story.task_id)
        await webhook.hears(60)

    ids = [each.headers["webhook-id"] for each in webhook.posted]
    assert len(ids) == len(set(ids)) == 60


async def test_who_lost_a_configuration_sends_nothing_more(
    database: Database, story: Story
) -> None:
    """Another server took it while the first one was held up in a call."""
    answering = asyncio.Event()

    async def hold_up() -> int:
        await answering.wait()
        return 204

    async with serve(hold_up) as webhook, open_push(database) as push:
        await push.create(ANN, config(webhook.url))
        await story.begin()
        await story.end()
        push.wake("task")
        await webhook.hears(1)
        (row,) = await PushConfigs(database).of_state(None)
        assert await PushConfigs(database).claim(row, 2**53)
        answering.set()
        await push.close()

        (after,) = await PushConfigs(database).of_state(None)
    assert (after.delivered_seq, after.lease_until) == (0, 2**53)
    assert len(webhook.posted) == 1


async def test_a_webhook_that_is_deleted_hears_nothing_more(
    database: Database, story: Story
) -> None:
    """Also when it is being called; deleting it again changes nothing."""
    hanging = asyncio.Event()

    async def hang() -> int:
        await hanging.wait()
        return 204

    async with serve(hang) as webhook, serve() as other, open_push(database) as push:
        await push.create(ANN, config(webhook.url, id="one"))
        await push.create(ANN, config(other.url, id="two"))
        await story.begin()
        push.wake("task")
        await webhook.hears(1)
        await push.delete(ANN, "task", "one")
        await push.delete(ANN, "task", "one")
        hanging.set()
        await story.end()
        push.wake("task")
        await other.hears(2)

        assert await push.get(ANN, "task", "one") is None
    assert len(webhook.posted) == 1


async def test_a_webhook_that_says_gone_is_given_up_at_once(
    database: Database, story: Story
) -> None:
    async with serve(410) as webhook, open_push(database) as push:
        await push.create(ANN, config(webhook.url))
        await story.begin()
        push.wake("task")

        row = await rests(database, state="dead")

    assert (row.attempts, row.last_error) == (1, "HTTP status 410")


async def test_a_dead_webhook_that_is_requeued_hears_everything_from_where_it_was(
    database: Database, story: Story
) -> None:
    async with serve(204, 500, 500) as webhook, open_push(database, settings(attempts=2)) as push:
        await push.create(ANN, config(webhook.url, id="one"))
        await story.begin()
        await story.end()
        push.wake("task")
        dead = await rests(database, state="dead")
        configs = PushConfigs(database)

        assert await configs.requeue(0, "task", "other") == 0
        assert await configs.requeue(0, "task", "one") == 1
        assert await configs.requeue(0, None, None) == 0
        push.wake("task")

        assert (await webhook.hears(4))[-1] == "completed"
        await rests(database, state="done", attempts=0, last_error=None)
    assert dead.delivered_seq == 1


async def test_a_webhook_that_is_changed_goes_on_at_its_new_address(
    database: Database, story: Story
) -> None:
    """Also when it was dead."""
    async with serve(204, 410) as old, serve() as new, open_push(database) as push:
        first = await push.create(ANN, config(old.url, version="0.3"))
        await story.begin()
        await story.tell(story.status(WORKING))
        push.wake("task")
        await rests(database, state="dead")
        second = await push.create(ANN, config(new.url, version="0.3"))

        assert first.id == second.id == "task"
        assert await new.hears(1) == ["working"]


async def test_one_host_does_not_take_all_places(database: Database, journal: Journal) -> None:
    """Twenty webhooks of one host hang; another host is heard all the same."""
    hanging = asyncio.Event()

    async def hang() -> int:
        await hanging.wait()
        return 204

    few = settings(concurrency=4)

    async def resolve(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    async with (
        serve(*20 * [hang]) as slow,
        serve() as quick,
        open_push(database, few, resolve=resolve) as push,
    ):
        stories = [Story(journal, f"task-{number}") for number in range(20)]
        for story in stories:
            url = slow.url.replace("127.0.0.1", "slow.example")
            await push.create(ANN, config(url, story.task_id))
            await story.begin()
            push.wake(story.task_id)
        await slow.hears(1)
        story = Story(journal, "quick")
        await push.create(ANN, config(quick.url.replace("127.0.0.1", "quick.example"), "quick"))
        await story.begin()
        push.wake("quick")

        assert await quick.hears(1) == ["submitted"]
        assert len(slow.posted) == 1
        hanging.set()
        await slow.hears(20)


async def test_a_task_that_cannot_be_read_makes_its_webhooks_dead(
    database: Database, story: Story
) -> None:
    async with serve() as webhook, open_push(database, settings(attempts=2)) as push:
        await push.create(ANN, config(webhook.url))
        await story.begin()
        from sqlalchemy import update

        from a2a_state.tables import task_events

        spoilt = update(task_events).values(body=b"?")
        await database.write(lambda c: c.execute(spoilt))
        push.wake("task")

        row = await rests(database, state="dead")

    assert row.last_error == "the task cannot be read"
    assert webhook.posted == []


async def test_configurations_without_a_task_are_forgotten_after_a_while(
    database: Database, story: Story
) -> None:
    clock = Clock()
    async with open_push(database, clock=clock) as push:
        await push.create(ANN, config("http://127.0.0.1:9000/"))
        await push.create(ANN, config("http://127.0.0.1:9000/", "never"))
        await story.begin()
        await story.end()
    clock.now += 60 * MINUTE + 1
    async with open_push(database, clock=clock) as push:
        with anyio.fail_after(5):
            while await push.get(ANN, "never", None):
                await anyio.lowlevel.checkpoint()
        assert await push.get(ANN, "task", None)


async def test_push_that_is_switched_off_sends_nothing(database: Database, story: Story) -> None:
    async with serve() as webhook:
        async with open_push(database) as push:
            await push.create(ANN, config(webhook.url))
        await story.begin()
        async with open_push(database, settings(enabled=False)) as push:
            assert not push.enabled
            push.wake("task")
        async with open_push(database):
            await webhook.hears(1)
    assert len(webhook.posted) == 1
