"""Canceling a task in every state and wherever it runs; it ends once, whoever races."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from agent.caller import Caller
from agent.clock import now
from agent.errors import TaskNotCancelable, TaskNotFound, TaskTaken
from agent.lease import SEQ_GAP
from agent.model import INTERRUPTED, TERMINAL, TaskState
from agent.replay import restore
from agent.retold import retold_for
from agent.run import Run

if TYPE_CHECKING:
    from a2a_state.tasks import StoredTask
    from agent.conversations import Conversations
    from agent.model import Task
    from agent.runner import Runner
    from agent.state import State

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
STACK_SECONDS = 5.0


class Cancellation:
    """Cancels tasks: those that run here, those that run elsewhere, and those that wait."""

    def __init__(self, state: State, runner: Runner, conversations: Conversations) -> None:
        """Keep what it works with."""
        self._state = state
        self._tasks = state.tasks
        self._runner = runner
        self._conversations = conversations

    async def cancel(self, caller: Caller, task_id: str) -> Task:
        """Return the canceled task. Raises ``TaskNotCancelable`` when it ended otherwise, or before."""
        stored = await self._own(caller, task_id)
        if TaskState(stored.row.state) in TERMINAL:
            raise TaskNotCancelable
        while True:
            await self._try(stored)
            stored = await self._own(caller, task_id)
            state = TaskState(stored.row.state)
            if state is TaskState.CANCELED:
                return restore(stored)
            if state in TERMINAL:
                raise TaskNotCancelable

    async def _try(self, stored: StoredTask) -> None:
        """Do what cancels a task that stands as it is stored; it may have changed by then."""
        row = stored.row
        if self._runner.run_of(row.owner, row.tenant, row.task_id) is not None:
            await self._runner.cancel(row.task_id)
        elif row.lease_until > now():
            if row.cancel_at is None:
                await self._tasks.ask_to_cancel(row)
            await asyncio.sleep(LOOK_SECONDS)
        else:
            try:
                await self._end(stored)
            except TaskTaken:
                await asyncio.sleep(LOOK_SECONDS)

    async def _end(self, stored: StoredTask) -> None:
        """End a task that nobody runs."""
        holder = self._state.holder
        row = await self._tasks.take(stored.row, holder.name, holder.until())
        caller = Caller(stored.row.owner, stored.row.tenant)
        # Its process may have sent more than it stored, if it died.
        died = TaskState(row.state) not in INTERRUPTED
        seq, task = stored.last_seq + (SEQ_GAP if died else 0), restore(stored)
        run = Run(self._state, caller, task, row, recovers_from=seq)
        for event in retold_for(task, row.request) if died else ():
            run.publish(event)
        run.cancel()
        await run.finish()
        await self._stop_turn(caller, stored)

    async def _stop_turn(self, caller: Caller, stored: StoredTask) -> None:
        """Let the stack know, if it can be told: the task is canceled in any case."""
        if stored.row.turn_id is None:
            return
        try:
            async with asyncio.timeout(STACK_SECONDS):
                conversation_id = await self._conversations.find(caller, stored.row.context_id)
                if conversation_id is not None:
                    await self._conversations.stack.cancel(conversation_id, stored.row.turn_id)
        except Exception:
            logger.exception("The turn of task %s could not be canceled", stored.row.task_id)

    async def _own(self, caller: Caller, task_id: str) -> StoredTask:
        stored = await self._tasks.get(caller.owner, caller.tenant, task_id)
        if stored is None:
            raise TaskNotFound
        return stored
