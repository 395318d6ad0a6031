"""A dead process is not a dead task: what nobody runs any more is brought to an end that says so."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from agent.clock import now
from agent.errors import StateError, TaskTaken
from agent.lease import SEQ_GAP
from agent.model import Caller, TaskState
from agent.replay import restore
from agent.run import Run

if TYPE_CHECKING:
    from a2a_state.journal import Journal
    from a2a_state.tasks import TaskRow, Tasks
    from agent.lease import Holder
    from agent.runner import Runner

logger = logging.getLogger(__name__)

RUNNING = (TaskState.SUBMITTED.value, TaskState.WORKING.value)
ABANDONED = "The server that ran this task stopped before it was done."
BATCH = 100


class Recovery:
    """Gives signs of life for the tasks of this process, and ends those of processes that give none."""

    def __init__(self, tasks: Tasks, journal: Journal, holder: Holder, runner: Runner) -> None:
        """Nothing runs before ``open``; ``runner`` knows what this process runs."""
        self._runner = runner
        self._tasks = tasks
        self._journal = journal
        self._holder = holder

    async def open(self) -> None:
        """Start looking after tasks."""
        self._caring = asyncio.create_task(self._care(), name="recovery")

    async def close(self) -> None:
        """Stop."""
        self._caring.cancel()
        await asyncio.gather(self._caring, return_exceptions=True)

    async def sweep(self) -> int:
        """End what is abandoned; returns how many tasks that were."""
        ended = 0
        for row in await self._tasks.abandoned(RUNNING, now(), BATCH):
            try:
                await self._end(row)
            except TaskTaken:
                continue
            except StateError:
                logger.exception("Task %s could not be ended", row.task_id)
                continue
            ended += 1
        return ended

    async def _care(self) -> None:
        while True:
            try:
                running = self._runner.running()
                await self._tasks.renew(self._holder.name, running, self._holder.until())
                if ended := await self.sweep():
                    logger.warning("Ended %d tasks of a process that stopped", ended)
            except StateError:
                # The next round may find the database again; leases are longer than that.
                logger.warning("Leases could not be looked after", exc_info=True)
            await asyncio.sleep(self._holder.seconds / 3)

    async def _end(self, row: TaskRow) -> None:
        row = await self._tasks.take(row, self._holder.name, self._holder.until())
        stored = await self._tasks.get(row.owner, row.tenant, row.task_id)
        if stored is None:
            return
        caller, seq = Caller(row.owner, row.tenant), stored.last_seq + SEQ_GAP
        run = Run(self._journal, self._holder, caller, restore(stored), row, seq=seq)
        # Followers of the dead process know the task: they need its end only.
        run.begun = True
        run.fail(ABANDONED)
        await run.finish()
