"""A message -> the run of a new task or of one that waited for it; one sent before is recognized."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.answers import answers
from agent.errors import PushNotificationNotSupported, TaskTaken, UnsupportedOperation
from agent.model import (
    Task,
    TaskState,
    TaskStatus,
    new_context_id,
    new_task_id,
    timestamp,
)
from agent.references import referenced_tasks
from agent.replay import restore
from agent.stacks import Resume
from agent.turn_requests import (
    read_stored_request,
    stored_request,
    try_again,
    turn_request,
    write_stored_request,
)
from agent.work import AT_ONCE_SECONDS, BEGIN_SECONDS, Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from a2a_state.message_keys import MessageKey
    from a2a_state.tasks import TaskRow
    from agent.budget import Hold
    from agent.caller import Caller
    from agent.follow_up import FollowUps, TakenTask
    from agent.idempotency import Idempotency
    from agent.message_check import MessageCheck
    from agent.model import SendRequest
    from agent.push.push import Push
    from agent.repeats import Repeats
    from agent.run import Run
    from agent.runner import Runner
    from agent.state import State
    from agent.turn_requests import StoredRequest

TOO_LONG = "The task has as many messages as this server keeps; start a new one"


class Messages:
    """Takes messages in."""

    def __init__(
        self,
        check: MessageCheck,
        state: State,
        runner: Runner,
        idempotency: Idempotency,
        repeats: Repeats,
        follow_ups: FollowUps,
        push: Push,
    ) -> None:
        """Keep what a message goes through."""
        self._check = check.check
        self._limits = check.limits
        self._tasks = state.tasks
        self._runner = runner
        self._idempotency = idempotency
        self._repeats = repeats
        self._follow_ups = follow_ups
        self._push = push

    async def start(self, caller: Caller, request: SendRequest, hold: Hold) -> Run | MessageKey:
        """Return the run of the message, with its ``hold``; of one sent before, what is known of it."""
        self._check(request)
        if request.push_config is not None and not self._push.enabled:
            raise PushNotificationNotSupported
        self._runner.check_open()
        task_id: str | None = None
        if not request.as_new_task:
            task_id = await self._follow_ups.task_of(caller, request.message)
        try:
            return await self._start_as(caller, request, task_id, hold)
        except TaskTaken:
            if task_id is None or request.message.task_id:
                raise
        # Another message goes on with the task, and this one did not ask for it.
        return await self._start_as(caller, request, None, hold)

    async def _start_as(
        self, caller: Caller, request: SendRequest, task_id: str | None, hold: Hold
    ) -> Run | MessageKey:
        """Run the message as what goes on with a task, or as a new one."""
        new_id = task_id or new_task_id()
        key = self._idempotency.key(caller, request, new_id)
        if key is not None:
            known = await self._repeats.claim(key, request.message.message_id)
            if known is not None:
                return known
        try:
            if task_id is None:
                run = await self._begin(caller, request, new_id, key, hold)
            else:
                taken = await self._follow_ups.take(caller, task_id, request.message)
                run = await self._go_on(caller, request, taken, key, hold)
        except BaseException:
            # It was not taken in: it can be sent again.
            if key is not None:
                await self._idempotency.forget(key)
            raise
        run.hold = hold.keep()
        return run

    async def _begin(
        self,
        caller: Caller,
        request: SendRequest,
        task_id: str,
        key: MessageKey | None,
        hold: Hold,
    ) -> Run:
        message = request.message
        task = Task(
            id=task_id,
            context_id=message.context_id or new_context_id(),
            status=TaskStatus(TaskState.SUBMITTED, timestamp=timestamp()),
        )
        stored = stored_request(request, None, ())
        work = await self._work(caller, request, task, stored, key, hold)
        return await self._start(request, work)

    async def _go_on(
        self,
        caller: Caller,
        request: SendRequest,
        taken: TakenTask,
        key: MessageKey | None,
        hold: Hold,
    ) -> Run:
        row = taken.stored.row
        try:
            hold.grow(len(row.body))
            asking = restore(taken.stored)
            self._check_history(asking)
            said = answers(asking.status.message, request.message, waited=taken.waited)
            resume = Resume(row.turn_id or "", said)
            kept = tuple(artifact.artifact_id for artifact in asking.artifacts)
            before = read_stored_request(row.request)
            stored = stored_request(request, resume, kept, before)
            if asking.status.state is TaskState.AUTH_REQUIRED:
                stored = try_again(stored, before)
            work = await self._work(caller, request, _going_on(asking), stored, key, hold, row)
            return await self._start(request, work)
        except BaseException:
            await self._tasks.release(row)
            raise

    async def _start(self, request: SendRequest, work: Work) -> Run:
        """Store where the task's changes are to be sent before there are any, then run it."""
        if request.push_config is not None:
            config = msgspec.structs.replace(request.push_config, task_id=work.task.id)
            config = await self._push.create(work.caller, config, again=work.row is not None)
            if work.row is None:
                # A task that is there already keeps its webhook, whatever becomes of the message.
                work = msgspec.structs.replace(work, push_config_id=config.id)
        try:
            return await self._runner.start(work)
        except BaseException:
            if work.push_config_id is not None:
                await self._push.delete(work.caller, work.task.id, work.push_config_id)
            raise

    async def _work(
        self,
        caller: Caller,
        request: SendRequest,
        task: Task,
        stored: StoredRequest,
        key: MessageKey | None,
        hold: Hold,
        row: TaskRow | None = None,
    ) -> Work:
        said = request.message
        referenced: Sequence[Task] = ()
        if said.reference_task_ids:
            referenced = await referenced_tasks(self._tasks, caller, said, hold)
        message = msgspec.structs.replace(said, task_id=task.id, context_id=task.context_id)
        turn = turn_request(caller, task, message, stored, referenced, self._limits)
        if shown := caller.credentials.shown:
            stored = msgspec.structs.replace(stored, shown=shown)
        return Work(
            caller,
            msgspec.structs.replace(task, history=[*task.history, message]),
            turn,
            write_stored_request(stored),
            row=row,
            key=key,
            is_new_context=row is None and not said.context_id,
            # A task that waited keeps its context.
            must_exist=row is None and request.context_exists,
            is_task=request.as_new_task,
            kept_artifacts=stored.kept_artifacts,
            hear=request.hear,
            begin_after=AT_ONCE_SECONDS if request.return_immediately else BEGIN_SECONDS,
        )

    def _check_history(self, task: Task) -> None:
        if len(task.history) >= self._limits.history_messages:
            raise UnsupportedOperation(TOO_LONG)


def _going_on(task: Task) -> Task:
    """What the agent asked becomes history; the task works again."""
    asked = [task.status.message] if task.status.message else []
    status = TaskStatus(TaskState.WORKING, timestamp=timestamp())
    return msgspec.structs.replace(task, status=status, history=[*task.history, *asked])
