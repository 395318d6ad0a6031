"""Messages that go on with a task: one after another, whichever process they reach."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from agent.errors import (
    InvalidParams,
    StateError,
    TaskNotFound,
    TaskTaken,
    UnsupportedOperation,
)
from agent.model import INTERRUPTED, TERMINAL, TaskState

if TYPE_CHECKING:
    from a2a_state.tasks import StoredTask, TaskRow
    from agent.caller import Caller
    from agent.model import Message
    from agent.runner import Runner
    from agent.settings import Settings
    from agent.state import State

WAITING = tuple(state.value for state in INTERRUPTED)
LOOK_SECONDS = 0.1
ENDED = "The task has ended and takes no more messages"
BUSY = "The task is still busy with an earlier message; try again later"


class TakenTask(NamedTuple):
    """A task that waited for a message, and that is this process's now.

    ``waited`` says that the message was sent before the task asked what it asks now.
    """

    stored: StoredTask
    waited: bool


class FollowUps:
    """Finds and takes the tasks that messages go on with (1.0 section 3.4.3)."""

    def __init__(self, settings: Settings, state: State, runner: Runner) -> None:
        """Keep what it looks into."""
        self._tasks = state.tasks
        self._holder = state.holder
        self._runner = runner
        self._by_context = settings.a2a.resume_by_context
        self._seconds = settings.limits.queue_seconds

    async def task_of(self, caller: Caller, message: Message) -> str | None:
        """Return the id of the task that a message goes on with; None for a new one."""
        if message.task_id:
            # Before anything is remembered under the name of the caller: the task may be another's.
            if await self._tasks.standing(caller.owner, caller.tenant, message.task_id) is None:
                raise TaskNotFound
            return message.task_id
        if not message.context_id or not self._by_context:
            return None
        waiting = await self._tasks.waiting(
            caller.owner, caller.tenant, message.context_id, WAITING
        )
        return waiting[0] if len(waiting) == 1 else None

    async def take(self, caller: Caller, task_id: str, message: Message) -> TakenTask:
        """Wait until the task waits for a message, and take it.

        Raises ``TaskNotFound``, ``InvalidParams`` for the context of another task, ``UnsupportedOperation``
        when the task has ended, and ``TaskTaken`` when it is busy for too long; for a message that names
        its context alone, as soon as another goes on with it.
        """
        deadline = asyncio.get_running_loop().time() + self._seconds
        waited = False
        while True:
            stored = await self._own(caller, task_id, message)
            if TaskState(stored.row.state) in INTERRUPTED:
                try:
                    row = await self._take(stored.row)
                except TaskTaken:
                    pass
                else:
                    return TakenTask(msgspec.structs.replace(stored, row=row), waited)
            waited = True
            await self._change(caller, message.task_id, deadline)

    async def _take(self, row: TaskRow) -> TaskRow:
        """Take a task; who leaves meanwhile leaves it as it was."""
        taking = asyncio.ensure_future(
            self._tasks.take(row, self._holder.name, self._holder.until())
        )
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            with suppress(StateError):
                await self._tasks.release(await taking)
            raise

    async def _own(self, caller: Caller, task_id: str, message: Message) -> StoredTask:
        stored = await self._tasks.get(caller.owner, caller.tenant, task_id)
        if stored is None:
            raise TaskNotFound
        if message.context_id and message.context_id != stored.row.context_id:
            raise InvalidParams("message.contextId", "is not the context of the task")
        state = TaskState(stored.row.state)
        if not message.task_id and state not in INTERRUPTED:
            raise TaskTaken
        if state in TERMINAL:
            raise UnsupportedOperation(ENDED)
        return stored

    async def _change(self, caller: Caller, task_id: str | None, deadline: float) -> None:
        """Wait until the task, if one is named, may have changed; raises ``TaskTaken`` at the deadline."""
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            raise TaskTaken(BUSY)
        run = self._runner.run_of(caller.owner, caller.tenant, task_id) if task_id else None
        if run is None or run.feed.is_ended:
            await asyncio.sleep(min(LOOK_SECONDS, left))
            return
        try:
            async with asyncio.timeout(left):
                await run.feed.closed()
        except TimeoutError as exc:
            raise TaskTaken(BUSY) from exc
