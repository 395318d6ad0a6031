"""The A2A operations, for every wire: who asks, what for, and what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.answers import answers
from agent.errors import (
    ContentTypeNotSupported,
    InvalidParams,
    PushNotificationNotSupported,
    TaskNotFound,
    TooManyTasks,
    UnsupportedOperation,
)
from agent.model import (
    INTERRUPTED,
    TERMINAL,
    Caller,
    GetRequest,
    Message,
    Role,
    SendRequest,
    Task,
    TaskState,
    TaskStatus,
    new_context_id,
    new_task_id,
    timestamp,
    with_history,
)
from agent.parts import JSON, TEXT, accepted, read_parts
from agent.replay import restore
from agent.runner import AT_ONCE_SECONDS, BEGIN_SECONDS, Work
from agent.stacks import Resume, TurnRequest

if TYPE_CHECKING:
    from a2a_state.tasks import StoredTask, TaskRow, Tasks
    from agent.lease import Holder
    from agent.run import Run
    from agent.runner import Runner
    from agent.settings import Settings

WAITING = tuple(state.value for state in INTERRUPTED)


class Service:
    """What callers can do; each method works on the caller's own objects only."""

    def __init__(self, settings: Settings, runner: Runner, tasks: Tasks, holder: Holder) -> None:
        """``holder`` is this process, which takes the tasks that it goes on with."""
        self._holder = holder
        self._resume_by_context = settings.a2a.resume_by_context
        self._limits = settings.limits
        self._tenants = frozenset({"", *settings.a2a.tenants})
        self._runner = runner
        self._tasks = tasks

    async def send(self, caller: Caller, request: SendRequest) -> Task | Message:
        """Run a message; returns when the task has settled, or at once when asked to (1.0 section 3.1.1)."""
        run = await self.stream(caller, request)
        await (run.feed.opened() if request.return_immediately else run.feed.ended())
        if run.message is not None and not run.begun:
            return run.message
        return with_history(run.task(), request.history_length)

    async def stream(self, caller: Caller, request: SendRequest) -> Run:
        """Run a message; the events are followed on the run (1.0 section 3.1.2)."""
        caller = self._within_tenant(caller, request.tenant)
        self._check(request)
        work = await self._work(caller, request)
        try:
            return self._runner.start(work)
        except TooManyTasks:
            if work.row is not None:
                await self._tasks.release(work.row)
            raise

    async def get(self, caller: Caller, request: GetRequest) -> Task:
        """Return a task of the caller's (1.0 section 3.1.3)."""
        caller = self._within_tenant(caller, request.tenant)
        self._check_id(request.id, "id")
        return with_history(restore(await self._own(caller, request.id)), request.history_length)

    def _within_tenant(self, caller: Caller, tenant: str) -> Caller:
        if tenant == caller.tenant:
            return caller
        if tenant not in self._tenants:
            raise InvalidParams("tenant", "is not served here")
        return Caller(caller.owner, tenant)

    async def _own(self, caller: Caller, task_id: str) -> StoredTask:
        stored = await self._tasks.get(caller.owner, caller.tenant, task_id)
        if stored is None:
            raise TaskNotFound
        return stored

    def _check(self, request: SendRequest) -> None:
        message = request.message
        self._check_id(message.message_id, "message.messageId")
        for name, value in (("contextId", message.context_id), ("taskId", message.task_id)):
            if value:
                self._check_id(value, f"message.{name}")
        if message.role is not Role.USER:
            raise InvalidParams("message.role", "must be the user's")
        if not message.parts:
            raise InvalidParams("message.parts", "must not be empty")
        if len(message.parts) > self._limits.parts:
            raise InvalidParams("message.parts", f"has more than {self._limits.parts} parts")
        if request.push_config is not None:
            raise PushNotificationNotSupported
        if not any(accepted(mode, request.accepted_output_modes) for mode in (TEXT, JSON)):
            raise ContentTypeNotSupported(f"This agent answers with {TEXT} or {JSON}")

    def _check_id(self, value: str, field: str) -> None:
        if not value or len(value) > self._limits.id_chars:
            raise InvalidParams(field, f"must have 1 to {self._limits.id_chars} characters")
        if not value.isprintable():
            raise InvalidParams(field, "must have printable characters only")

    async def _work(self, caller: Caller, request: SendRequest) -> Work:
        message = request.message
        parts = read_parts(message.parts, file_bytes=self._limits.file_bytes)
        stored = await self._continued(caller, message)
        task = _new_task(message) if stored is None else _going_on(restore(stored))
        message = msgspec.structs.replace(message, task_id=task.id, context_id=task.context_id)
        turn = TurnRequest(
            conversation_id="",
            task_id=task.id,
            context_id=task.context_id,
            message_id=message.message_id,
            owner=caller.owner,
            tenant=caller.tenant,
            parts=parts,
            metadata={**(request.metadata or {}), **(message.metadata or {})},
            accepted_output_modes=request.accepted_output_modes,
            resume=None if stored is None else _resume(stored, task.history[-1], message),
        )
        task = msgspec.structs.replace(task, history=[*task.history, message])
        return Work(
            caller,
            task,
            turn,
            row=None if stored is None else await self._take(stored.row),
            is_new_context=stored is None and not request.message.context_id,
            begin_after=AT_ONCE_SECONDS if request.return_immediately else BEGIN_SECONDS,
        )

    async def _take(self, row: TaskRow) -> TaskRow:
        return await self._tasks.take(row, self._holder.name, self._holder.until())

    async def _continued(self, caller: Caller, message: Message) -> StoredTask | None:
        """Return the waiting task that the message goes on with, if it does (1.0 section 3.4.3)."""
        if message.task_id:
            stored = await self._own(caller, message.task_id)
            if message.context_id and message.context_id != stored.row.context_id:
                raise InvalidParams("message.contextId", "is not the context of the task")
            state = TaskState(stored.row.state)
            if state in TERMINAL:
                raise UnsupportedOperation("The task has ended and takes no more messages")
            if state not in INTERRUPTED:
                raise UnsupportedOperation("The task is running and does not wait for a message")
            return stored
        if not message.context_id or not self._resume_by_context:
            return None
        waiting = await self._tasks.waiting(
            caller.owner, caller.tenant, message.context_id, WAITING
        )
        return await self._own(caller, waiting[0]) if len(waiting) == 1 else None


def _new_task(message: Message) -> Task:
    return Task(
        id=new_task_id(),
        context_id=message.context_id or new_context_id(),
        status=TaskStatus(TaskState.SUBMITTED, timestamp=timestamp()),
    )


def _going_on(task: Task) -> Task:
    """What the agent asked becomes history; the task works again."""
    asked = [task.status.message] if task.status.message else []
    status = TaskStatus(TaskState.WORKING, timestamp=timestamp())
    return msgspec.structs.replace(task, status=status, history=[*task.history, *asked])


def _resume(stored: StoredTask, asked: Message, message: Message) -> Resume:
    return Resume(stored.row.turn_id or "", answers(asked, message))
