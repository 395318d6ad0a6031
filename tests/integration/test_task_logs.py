"""The logs of several tasks are read one after another, a few rows at a time."""

from __future__ import annotations

import pytest

from a2a_state import task_logs
from a2a_state.task_logs import LogRow, TaskLogs
from tests.fakes.state import entry, open_database, open_journal, task_row, write

pytestmark = pytest.mark.anyio


async def test_logs_are_read_to_their_ends_by_their_owner(database_url: str) -> None:
    wanted = [f"t-{number}" for number in range(3)]
    each = task_logs.ROWS // 2
    async with open_database(database_url) as database, open_journal(database) as journal:
        for task_id in wanted:
            entries = [entry(task_id, first) for first in range(1, each + 1)]
            assert not any(await write(journal, *entries))
        row = task_row(wanted[0])
        found, after = list[LogRow](), None
        logs = TaskLogs(database)
        while rows := await logs.rows(row.owner, row.tenant, wanted, after):
            assert len(rows) <= task_logs.ROWS
            found += rows
            after = rows[-1]
        assert await logs.rows("eve", row.tenant, wanted, None) == []
    assert [(each.task_id, each.first_seq) for each in found] == [
        (task_id, first) for task_id in wanted for first in range(1, each + 1)
    ]
