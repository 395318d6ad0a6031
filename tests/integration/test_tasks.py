"""Tasks are read by their owner, and taken by one process at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from a2a_state.journal import Entry, EventRow
from a2a_state.message_keys import MessageKey
from a2a_state.tables import message_keys, task_events, tasks
from a2a_state.tasks import StoredTask, TaskRow, Tasks
from agent.errors import TaskTaken
from tests.fakes.state import (
    entry,
    event_row,
    event_rows,
    open_database,
    open_journal,
    task_row,
    write,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database
    from a2a_state.journal import Journal

pytestmark = pytest.mark.anyio

WORKING = "TASK_STATE_WORKING"
INPUT_REQUIRED = "TASK_STATE_INPUT_REQUIRED"
AUTH_REQUIRED = "TASK_STATE_AUTH_REQUIRED"
COMPLETED = "TASK_STATE_COMPLETED"
WAITING = (INPUT_REQUIRED, AUTH_REQUIRED)
LATER = 2**53


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


async def stored(database: Database, task_id: str = "task") -> TaskRow:
    """Return a row of ann's as it is stored."""
    found = await Tasks(database).get("ann", "", task_id)
    assert found is not None
    return found.row


def test_the_fields_of_a_task_are_the_columns() -> None:
    """Rows are read and written by position; what is no column comes last."""
    columns = tuple(column.name for column in tasks.columns)

    assert TaskRow.__struct_fields__ == (*columns, "is_new")


def test_the_fields_of_events_are_the_columns() -> None:
    columns = tuple(column.name for column in task_events.columns)

    assert EventRow.__struct_fields__ == (*columns, "fence")


def test_the_fields_of_a_key_are_the_columns() -> None:
    columns = tuple(column.name for column in message_keys.columns)

    assert MessageKey.__struct_fields__ == columns


async def test_a_task_is_its_row_and_the_events_that_came_after(
    database: Database, journal: Journal
) -> None:
    """In order, whatever order they were written in."""
    await write(journal, entry(last=3))
    for first, last in ((7, 9), (4, 4), (5, 6)):
        await write(journal, Entry(events=event_row(first=first, last=last)))

    found = await Tasks(database).get("ann", "", "task")

    assert found == StoredTask(task_row(seq=3, is_new=False), (b"[4]", b"[5,6]", b"[7,8,9]"), 9)


async def test_a_task_without_later_events_is_its_row(database: Database, journal: Journal) -> None:
    await write(journal, entry(last=3), entry("other", last=2), entry("other", 3))

    found = await Tasks(database).get("ann", "", "task")

    assert found == StoredTask(task_row(seq=3, is_new=False), (), 3)


async def test_a_task_that_has_ended_is_its_row(database: Database, journal: Journal) -> None:
    last = entry(first=2, state=COMPLETED, ended_at=5)
    await write(journal, entry(), last)

    found = await Tasks(database).get("ann", "", "task")

    assert found == StoredTask(
        task_row(seq=2, state=COMPLETED, ended_at=5, is_new=False), last_seq=2
    )


@pytest.mark.parametrize(
    ("owner", "tenant", "task_id"),
    [
        ("bob", "x", "task"),
        ("ann", "", "task"),
        ("ann", "y", "task"),
        ("ann", "x", "no"),
        ("", "", ""),
    ],
)
async def test_another_owners_or_tenants_task_is_not_there(
    database: Database, journal: Journal, owner: str, tenant: str, task_id: str
) -> None:
    await write(journal, entry(tenant="x"))

    assert await Tasks(database).get(owner, tenant, task_id) is None
    assert await Tasks(database).get("ann", "x", "task") is not None


async def test_who_takes_a_task_is_the_one_who_may_write_it(
    database: Database, journal: Journal
) -> None:
    await write(journal, entry(state=INPUT_REQUIRED))

    taken = await Tasks(database).take(await stored(database), "there", LATER)

    assert taken.fence == 2
    row = await stored(database)
    assert (row.fence, row.lease_holder, row.lease_until) == (2, "there", LATER)
    late, right = entry(first=2, state=WORKING), entry(first=2, state=COMPLETED, fence=2)
    assert [type(error) for error in await write(journal, late, right)] == [TaskTaken, type(None)]
    assert await event_rows(database) == [(1, 1, b"[1]"), (2, 2, b"[2]")]
    assert (await stored(database)).state == COMPLETED


async def test_of_several_who_take_a_task_at_once_one_gets_it(
    database: Database, journal: Journal
) -> None:
    await write(journal, entry(state=INPUT_REQUIRED))
    row = await stored(database)

    outcomes = await asyncio.gather(
        *(Tasks(database).take(row, f"rival-{number}", LATER) for number in range(8)),
        return_exceptions=True,
    )

    winners = [outcome for outcome in outcomes if isinstance(outcome, TaskRow)]
    assert [winner.fence for winner in winners] == [2]
    assert [type(o) for o in outcomes if o not in winners] == [TaskTaken] * 7
    assert (await stored(database)).fence == 2


@pytest.mark.parametrize(
    "changes",
    [{"owner": "bob"}, {"tenant": "x"}, {"task_id": "other"}, {"fence": 2}],
    ids=["owner", "tenant", "task", "fence"],
)
async def test_a_task_that_is_not_as_it_was_read_cannot_be_taken(
    database: Database, journal: Journal, changes: dict[str, str | int]
) -> None:
    await write(journal, entry(state=INPUT_REQUIRED))
    row = msgspec.structs.replace(await stored(database), **changes)

    with pytest.raises(TaskTaken):
        await Tasks(database).take(row, "there", LATER)

    assert (await stored(database)).fence == 1


async def test_a_task_that_has_ended_cannot_be_taken(database: Database, journal: Journal) -> None:
    await write(journal, entry(state=INPUT_REQUIRED))
    row = await stored(database)
    await write(journal, entry(first=2, state=COMPLETED, ended_at=5))

    with pytest.raises(TaskTaken):
        await Tasks(database).take(row, "there", LATER)


async def test_a_task_that_was_taken_a_moment_ago_cannot_be_taken(
    database: Database, journal: Journal
) -> None:
    """It still waits for input until whoever took it begins: that takes up to a second."""
    await write(journal, entry(state=INPUT_REQUIRED))
    await Tasks(database).take(await stored(database), "there", LATER)

    with pytest.raises(TaskTaken):
        await Tasks(database).take(await stored(database), "elsewhere", LATER)


async def test_a_task_whose_holder_gave_a_sign_of_life_cannot_be_taken(
    database: Database, journal: Journal
) -> None:
    await write(journal, entry(state=WORKING))
    (row,) = await Tasks(database).abandoned((WORKING,), 30_001, 10)
    await Tasks(database).renew("here", ["task"], LATER)

    with pytest.raises(TaskTaken):
        await Tasks(database).take(row, "there", LATER)


async def test_a_task_that_is_given_back_can_be_taken_at_once(
    database: Database, journal: Journal
) -> None:
    await write(journal, entry(state=INPUT_REQUIRED))
    taken = await Tasks(database).take(await stored(database), "there", LATER)

    await Tasks(database).release(taken)

    assert (await Tasks(database).take(await stored(database), "elsewhere", LATER)).fence == 3


async def test_who_has_lost_a_task_cannot_give_it_back(
    database: Database, journal: Journal
) -> None:
    await write(journal, entry(state=INPUT_REQUIRED))
    lost = await stored(database)
    await Tasks(database).take(lost, "there", LATER)

    await Tasks(database).release(lost)

    assert (await stored(database)).lease_until == LATER


async def test_tasks_of_a_context_that_wait_are_found(database: Database, journal: Journal) -> None:
    await write(
        journal,
        entry("asks", state=INPUT_REQUIRED),
        entry("works", state=WORKING),
        entry("ended", state=COMPLETED, ended_at=5),
        entry("elsewhere", state=INPUT_REQUIRED, context_id="other"),
        entry("bobs", state=INPUT_REQUIRED, owner="bob"),
        entry("tenants", state=INPUT_REQUIRED, tenant="x"),
    )

    waiting = Tasks(database).waiting
    assert await waiting("ann", "", "context", WAITING) == ["asks"]
    assert await waiting("bob", "", "context", WAITING) == ["bobs"]
    assert await waiting("ann", "x", "context", WAITING) == ["tenants"]
    assert await waiting("ann", "", "nothing", WAITING) == []


async def test_of_many_tasks_that_wait_two_are_enough_to_know(
    database: Database, journal: Journal
) -> None:
    await write(journal, *(entry(f"task-{n}", state=AUTH_REQUIRED) for n in range(4)))

    assert len(await Tasks(database).waiting("ann", "", "context", WAITING)) == 2


async def test_a_task_is_abandoned_when_its_lease_has_run_out(
    database: Database, journal: Journal
) -> None:
    """The one that has been so for longest comes first; tasks that wait for somebody are not."""
    await write(
        journal,
        entry("long", state=WORKING, lease_until=10, owner="bob"),
        entry("longer", state=WORKING, lease_until=5),
        entry("alive", state=WORKING, lease_until=20),
        entry("waits", state=INPUT_REQUIRED, lease_until=5),
        entry("ended", state=COMPLETED, lease_until=5, ended_at=4),
    )

    abandoned = Tasks(database).abandoned
    assert [row.task_id for row in await abandoned((WORKING,), 20, 10)] == ["longer", "long"]
    assert [row.task_id for row in await abandoned((WORKING,), 20, 1)] == ["longer"]
    assert (await abandoned((WORKING,), 20, 1))[0] == await stored(database, "longer")


async def test_a_sign_of_life_is_one_for_all_tasks_of_a_process(
    database: Database, journal: Journal
) -> None:
    await write(
        journal,
        entry("one", state=WORKING),
        entry("two", state=WORKING, owner="bob"),
        entry("theirs", state=WORKING, lease_holder="there"),
        entry("ended", state=COMPLETED, ended_at=4),
        entry("waits", state=INPUT_REQUIRED, lease_until=0),
    )

    await Tasks(database).renew("here", ["one", "two", "theirs", "ended", "waits"], LATER)

    abandoned = await Tasks(database).abandoned((WORKING,), LATER, 10)
    assert [row.task_id for row in abandoned] == ["theirs"]
    assert (await stored(database, "ended")).lease_until == 30_000
    assert (await stored(database, "waits")).lease_until == 0


async def test_a_task_that_no_longer_runs_gets_no_sign_of_life(
    database: Database, journal: Journal
) -> None:
    """Its end could not be stored: somebody must be able to end it."""
    await write(journal, entry("runs", state=WORKING), entry("lost", state=WORKING))

    await Tasks(database).renew("here", ["runs"], LATER)
    await Tasks(database).renew("here", [], LATER)

    abandoned = await Tasks(database).abandoned((WORKING,), LATER, 10)
    assert [row.task_id for row in abandoned] == ["lost"]
