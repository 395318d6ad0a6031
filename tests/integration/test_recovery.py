"""What becomes of tasks that nobody runs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from a2a_state.tasks import Tasks
from agent.clock import now
from agent.lease import Holder
from agent.model import Task, TaskState, TaskStatus
from agent.recovery import ABANDONED, Recovery
from agent.replay import restore
from tests.fakes.state import entry, open_database, open_journal, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a_state.database import Database
    from a2a_state.journal import Journal

pytestmark = pytest.mark.anyio

WORKING = TaskState.WORKING.value


class Idle:
    """A runner that runs nothing."""

    def running(self) -> list[str]:
        """Return no task."""
        return []


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


@pytest.fixture
async def journal(database: Database) -> AsyncIterator[Journal]:
    async with open_journal(database) as opened:
        yield opened


def body(task_id: str) -> bytes:
    """Return a task that works."""
    return msgspec.json.encode(Task(task_id, "context", TaskStatus(TaskState.WORKING)))


async def test_a_task_whose_lease_has_run_out_is_ended(
    database: Database, journal: Journal
) -> None:
    """Also one of this process, whose end could not be stored; those that are alive go on."""
    holder, idle = Holder(), Idle()
    runner: Any = idle
    tasks = Tasks(database)
    lease: dict[str, Any] = {"state": WORKING, "lease_until": now() - 1}
    await write(
        journal,
        entry("dead", **lease, body=body("dead")),
        entry("mine", **lease, body=body("mine"), lease_holder=holder.name),
        entry("alive", state=WORKING, body=body("alive"), lease_until=holder.until()),
    )

    assert await Recovery(tasks, journal, holder, runner).sweep() == 2

    for task_id in ("dead", "mine"):
        stored = await tasks.get("ann", "", task_id)
        assert stored is not None
        task = restore(stored)
        assert task.status.state is TaskState.FAILED
        assert task.status.message is not None
        assert task.status.message.parts[0].text == ABANDONED
    assert await Recovery(tasks, journal, holder, runner).sweep() == 0


async def test_a_task_that_cannot_be_read_does_not_keep_others_from_being_ended(
    database: Database, journal: Journal
) -> None:
    """It is passed over, and tried again when its next lease has run out."""
    holder = Holder()
    runner: Any = Idle()
    lease: dict[str, Any] = {"state": WORKING, "lease_until": now() - 1}
    await write(
        journal,
        entry("broken", **{**lease, "lease_until": 5}, body=b"{}"),
        entry("dead", **lease, body=body("dead")),
    )

    assert await Recovery(Tasks(database), journal, holder, runner).sweep() == 1
