"""A dead process is not a dead task: what nobody runs any more is gone on with, or ended with a reason."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from agent.caller import Caller
from agent.clock import now
from agent.errors import AgentError, ServerStopping, StateError, TaskTaken, TooManyTasks
from agent.lease import SEQ_GAP
from agent.model import TaskState
from agent.replay import restore
from agent.rerun import Concluded, rerun
from agent.retold import retold_for
from agent.run import Run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from a2a_state.tasks import StoredTask, TaskRow
    from agent.conversations import Conversations
    from agent.runner import Runner
    from agent.settings import Settings
    from agent.state import State

logger = logging.getLogger(__name__)

RUNNING = (TaskState.SUBMITTED.value, TaskState.WORKING.value)
ABANDONED = "The server that ran this task stopped before it was done."
BATCH = 100
OUTCOME_SECONDS = 10.0
LOOK_SECONDS = 0.5
"""How often to look whether another process wants a task canceled that runs here."""


class Recovery:
    """Gives signs of life for the tasks of this process, and takes over those of processes that give none."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        runner: Runner,
        conversations: Conversations,
    ) -> None:
        """Nothing runs before ``open``; ``runner`` knows what this process runs."""
        self._settings = settings
        self._state = state
        self._tasks = state.tasks
        self._holder = state.holder
        self._runner = runner
        self._conversations = conversations

    async def open(self) -> None:
        """Start looking after tasks."""
        self._caring = [
            asyncio.create_task(self._repeat(self._renew, self._holder.seconds / 3), name="leases"),
            asyncio.create_task(
                self._repeat(self._care, self._holder.seconds / 3), name="recovery"
            ),
            asyncio.create_task(self._repeat(self._listen, LOOK_SECONDS), name="cancellation"),
        ]

    async def close(self) -> None:
        """Stop."""
        for caring in self._caring:
            caring.cancel()
        await asyncio.gather(*self._caring, return_exceptions=True)

    async def sweep(self) -> int:
        """Take over what is abandoned; returns how many tasks that were."""
        taken = 0
        for row in await self._tasks.abandoned(RUNNING, now(), BATCH):
            if not self._runner.has_place(row.owner):
                continue
            try:
                await self._take_over(row)
            except TaskTaken:
                continue
            except ServerStopping:
                break
            except TooManyTasks:
                continue
            except AgentError:
                logger.exception("Task %s could not be taken over", row.task_id)
                continue
            taken += 1
        return taken

    async def _repeat(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Each by itself: signs of life must not wait for a stack that is asked about a turn."""
        while True:
            try:
                await work()
            except StateError:
                # The next round may find the database again; leases are longer than that.
                logger.warning("The state database cannot be looked into", exc_info=True)
            except Exception:
                # Nobody else cares for the tasks: whatever is wrong, the next round comes.
                logger.exception("A round of caring for tasks broke")
            await asyncio.sleep(seconds)

    async def _renew(self) -> None:
        running = self._runner.running()
        lost = await self._tasks.renew(self._holder.name, running, self._holder.until())
        self._runner.give_up(lost)

    async def _care(self) -> None:
        if taken := await self.sweep():
            logger.warning("Took over %d tasks of a process that stopped", taken)

    async def _listen(self) -> None:
        if self._runner.running():
            for task_id in await self._tasks.to_cancel(self._holder.name):
                # One that does not give up keeps no other waiting.
                self._runner.cancel_soon(task_id)

    async def _take_over(self, before: TaskRow) -> None:
        self._runner.check_open()
        row = await self._tasks.take(before, self._holder.name, self._holder.until(), recovers=True)
        stored = await self._tasks.get(row.owner, row.tenant, row.task_id)
        if stored is None:
            return
        stored = msgspec.structs.replace(stored, row=row)
        try:
            if row.cancel_at is not None or not await self._run_again(stored):
                await self._end(stored)
        except (ServerStopping, TooManyTasks):
            # It was not tried: somebody else may, at once, and it does not count.
            kept = msgspec.structs.replace(row, recoveries=before.recoveries)
            await self._tasks.release(kept)
            raise

    async def _end(self, stored: StoredTask) -> None:
        row, task = stored.row, restore(stored)
        run = Run(
            self._state,
            Caller(row.owner, row.tenant),
            task,
            row,
            # Followers of the dead process know the task: they need its end only.
            recovers_from=stored.last_seq + SEQ_GAP,
        )
        for event in retold_for(task, row.request):
            run.publish(event)
        if row.cancel_at is None:
            run.fail(ABANDONED)
        else:
            run.cancel()
        await run.finish()

    async def _run_again(self, stored: StoredTask) -> bool:
        """Go on with a turn; False when it is not to be, or cannot be."""
        a2a = self._settings.a2a
        if a2a.recovery == "fail" or stored.row.recoveries > a2a.recovery_attempts:
            return False
        work = await rerun(stored, self._tasks, self._settings.limits)
        if work is None:
            return False
        concluded = await self._concluded(stored) if a2a.recovery == "resume" else None
        with self._runner.budget.hold(stored.row.owner, len(stored.row.body)) as hold:
            run = await self._runner.start(msgspec.structs.replace(work, stack=concluded))
            run.hold = hold.keep()
        return True

    async def _concluded(self, stored: StoredTask) -> Concluded | None:
        """Return what the stack made of the turn meanwhile, if it can tell."""
        row = stored.row
        if row.turn_id is None:
            return None
        try:
            caller = Caller(row.owner, row.tenant)
            conversation_id = await self._conversations.find(caller, row.context_id)
            if conversation_id is None:
                return None
            async with asyncio.timeout(OUTCOME_SECONDS):
                outcome = await self._conversations.stack.outcome(conversation_id, row.turn_id)
        except Exception:
            # It is foreign code, and running the turn again will tell what is wrong.
            logger.exception("What became of the turn of task %s cannot be told", row.task_id)
            return None
        return None if outcome is None else Concluded(self._settings, outcome)
