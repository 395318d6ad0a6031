"""The A2A operations, for every wire: who asks, what for, and what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.auth.access import EVERYBODY
from agent.errors import (
    InvalidParams,
    PushNotificationNotSupported,
    TaskNotFound,
    TaskTaken,
    UnsupportedOperation,
)
from agent.following import FollowedRun, Following, settled
from agent.lease import SEQ_GAP
from agent.message_check import check_id
from agent.model import SETTLED, TERMINAL, Message, Task, TaskState, with_history
from agent.others import DELETE, QUERY, READ, acting, check_message, may_list
from agent.replay import restore
from agent.run import Run
from agent.streams import Streams
from agent.waiting import Waiting

if TYPE_CHECKING:
    from a2a_state.message_keys import MessageKey
    from a2a_state.tasks import StoredTask
    from agent.caller import Caller
    from agent.cancellation import Cancellation
    from agent.following import Followed
    from agent.messages import Messages
    from agent.model import (
        GetRequest,
        ListRequest,
        PushConfig,
        PushConfigPage,
        PushConfigRequest,
        PushConfigsRequest,
        SendRequest,
        SubscribeRequest,
        TaskPage,
        TaskRequest,
    )
    from agent.push.push import Push
    from agent.removal import Removal
    from agent.repeats import Repeats
    from agent.runner import Runner
    from agent.settings import Settings
    from agent.state import State
    from agent.task_page import TaskList

NO_CONFIG = "There is no such push notification configuration"


class Parts(NamedTuple):
    """What the operations are made of."""

    runner: Runner
    messages: Messages
    repeats: Repeats
    cancellation: Cancellation
    pages: TaskList
    removal: Removal
    push: Push


class Service:
    """What callers can do; each method works on the caller's own objects only."""

    def __init__(self, settings: Settings, state: State, parts: Parts) -> None:
        """Keep what the operations are made of."""
        self._limits = settings.limits
        self._tenants = frozenset({"", *settings.a2a.tenants})
        self._tasks = state.tasks
        self._runner = parts.runner
        self._messages = parts.messages
        self._repeats = parts.repeats
        self._cancellation = parts.cancellation
        self._pages = parts.pages
        self._removal = parts.removal
        self._push = parts.push
        self._streams = Streams(settings.limits.streams_per_owner)

    @property
    def open_streams(self) -> int:
        """How many streams are open, of all callers; who waits for a task of theirs has one, too."""
        return self._streams.open

    def check_tenant(self, caller: Caller, tenant: str) -> Caller:
        """Return the caller within a tenant; raises ``InvalidParams`` for one that is not served."""
        if tenant == caller.tenant:
            return caller
        if tenant not in self._tenants:
            raise InvalidParams("tenant", "is not served here")
        return caller.within(tenant)

    async def send(self, caller: Caller, request: SendRequest, size: int = 0) -> Task | Message:
        """Run a message; returns when the task has settled, or at once when asked to (1.0 section 3.1.1).

        ``size`` is that of the request as it came, in bytes.
        """
        caller = self.check_tenant(caller, request.tenant)
        with self._runner.budget.hold(caller.user_id, size) as hold:
            caller = await self._acting(caller, request.message.task_id, QUERY, "message.taskId")
            check_message(caller, request)
            run = await self._messages.start(caller, request, hold)
            _note(caller, run)
            if not isinstance(run, Run):
                # A task takes one place to run: however many wait for it, each holds a connection.
                with self._streams.enter(caller.user_id):
                    return await self._repeats.send(caller, request, run)
        try:
            if request.return_immediately:
                await run.feed.opened()
            if run.settled or not request.return_immediately:
                # Also who does not wait is told of an end when it is stored.
                await run.feed.ended()
        except TaskTaken:
            if not run.feed.is_heard:
                # The message is no part of the task, which is another's.
                raise
            return with_history(await self._taken(run), request.history_length)
        if run.message is not None and not run.begun:
            caller.note("task_id", None)
            return run.message
        return with_history(run.task(), request.history_length)

    def waiting(self, caller: Caller, size: int) -> Waiting:
        """Count a stream that is still to begin, with a request of ``size`` bytes.

        Raises ``TooManyStreams`` and ``TooManyTasks``.
        """
        place = self._streams.enter(caller.user_id)
        return Waiting(place, self._runner.budget.hold(caller.user_id, size))

    async def stream(self, caller: Caller, request: SendRequest, size: int = 0) -> Followed:
        """Run a message; returns when there is something to follow (1.0 section 3.1.2)."""
        return await self._streams.placed(caller.user_id, self._stream(caller, request, size))

    async def _stream(self, caller: Caller, request: SendRequest, size: int) -> Followed:
        caller = self.check_tenant(caller, request.tenant)
        with self._runner.budget.hold(caller.user_id, size) as hold:
            caller = await self._acting(caller, request.message.task_id, QUERY, "message.taskId")
            check_message(caller, request)
            run = await self._messages.start(caller, request, hold)
            _note(caller, run)
            if not isinstance(run, Run):
                return await self._repeats.stream(caller, request, run)
        await run.feed.opened()
        return FollowedRun(run, self._tasks, self._runner)

    async def get(self, caller: Caller, request: GetRequest) -> Task:
        """Return a task of the caller's (1.0 section 3.1.3)."""
        caller = self.check_tenant(caller, request.tenant)
        stored = await self._own(await self._acting(caller, request.id, READ), request.id)
        return with_history(restore(stored), request.history_length)

    async def list(self, caller: Caller, request: ListRequest) -> TaskPage:
        """Return some of the caller's tasks, the latest first (1.0 section 3.1.4)."""
        caller = self.check_tenant(caller, request.tenant)
        caller.note("context_id", request.context_id)
        if caller.trail is not None and may_list(caller):
            caller.trail.owner = EVERYBODY
        return await self._pages.page(caller, request)

    async def cancel(self, caller: Caller, request: TaskRequest) -> Task:
        """Cancel a task (1.0 section 3.1.5)."""
        caller = self.check_tenant(caller, request.tenant)
        check_id(request.id, "id", self._limits)
        caller = await self._acting(caller, request.id, QUERY)
        return await self._cancellation.cancel(caller, request.id)

    async def subscribe(self, caller: Caller, request: SubscribeRequest) -> Followed:
        """Follow a task, from its present state or from an event on (1.0 section 3.1.6)."""
        return await self._streams.placed(caller.user_id, self._subscribe(caller, request))

    async def _subscribe(self, caller: Caller, request: SubscribeRequest) -> Followed:
        caller = self.check_tenant(caller, request.tenant)
        caller = await self._acting(caller, request.id, READ)
        stored = await self._own(caller, request.id)
        after, snapshot = request.last_event_id, None
        if after is None:
            if TaskState(stored.row.state) in TERMINAL:
                raise UnsupportedOperation("The task has ended: there is nothing to subscribe to")
            after, snapshot = stored.last_seq, restore(stored)
        elif after > stored.last_seq + SEQ_GAP:
            raise InvalidParams("Last-Event-ID", "is not the id of an event of this task")
        return Following(self._tasks, self._runner, caller, request.id, after, snapshot)

    async def delete(self, caller: Caller, request: TaskRequest) -> None:
        """Delete a task that has ended, with all that is kept of it; ours, not the protocol's."""
        caller = self.check_tenant(caller, request.tenant)
        check_id(request.id, "id", self._limits)
        caller = await self._acting(caller, request.id, DELETE)
        await self._removal.task(caller.owner, caller.tenant, request.id)

    async def delete_context(self, caller: Caller, context_id: str, tenant: str) -> None:
        """Delete a context and its tasks, which must have ended; ours, not the protocol's."""
        caller = self.check_tenant(caller, tenant)
        caller.note("context_id", context_id)
        check_id(context_id, "contextId", self._limits)
        await self._removal.context(caller.owner, caller.tenant, context_id)

    async def create_push_config(self, caller: Caller, config: PushConfig) -> PushConfig:
        """Have a task's changes sent to a webhook (1.0 section 3.1.7)."""
        caller = self._pushing(caller, config.tenant)
        await self._own(caller, config.task_id, "taskId")
        created = await self._push.create(caller, config)
        caller.note("push_config_id", created.id)
        return created

    async def get_push_config(self, caller: Caller, request: PushConfigRequest) -> PushConfig:
        """Return one configuration; raises ``TaskNotFound`` without it, too (1.0 section 3.1.8)."""
        caller = self._pushing(caller, request.tenant)
        caller.note("push_config_id", request.id)
        await self._own(caller, request.task_id, "taskId")
        config = await self._push.get(caller, request.task_id, request.id)
        if config is None:
            raise TaskNotFound(NO_CONFIG)
        return config

    async def list_push_configs(
        self, caller: Caller, request: PushConfigsRequest
    ) -> PushConfigPage:
        """Return a task's configurations (1.0 section 3.1.9)."""
        caller = self._pushing(caller, request.tenant)
        await self._own(caller, request.task_id, "taskId")
        return await self._push.list(caller, request.task_id, request.page_size, request.page_token)

    async def delete_push_config(self, caller: Caller, request: PushConfigRequest) -> None:
        """Delete a configuration; one that is not there is deleted already (1.0 section 3.1.10)."""
        caller = self._pushing(caller, request.tenant)
        caller.note("push_config_id", request.id)
        await self._own(caller, request.task_id, "taskId")
        if request.id is None:
            raise InvalidParams("pushNotificationConfigId", "is required")
        await self._push.delete(caller, request.task_id, request.id)

    async def _taken(self, run: Run) -> Task:
        """Return the task of a run that another process goes on with, when it has settled."""
        stored = await self._own(run.caller, run.task_id)
        if TaskState(stored.row.state) not in SETTLED:
            await settled(
                Following(self._tasks, self._runner, run.caller, run.task_id, stored.last_seq)
            )
            stored = await self._own(run.caller, run.task_id)
        return restore(stored)

    def _pushing(self, caller: Caller, tenant: str) -> Caller:
        if not self._push.enabled:
            raise PushNotificationNotSupported
        return self.check_tenant(caller, tenant)

    async def _acting(
        self, caller: Caller, task_id: str | None, action: str, field: str = "id"
    ) -> Caller:
        caller.note("task_id", task_id)
        if task_id:
            check_id(task_id, field, self._limits)
        return await acting(self._tasks, caller, task_id, action)

    async def _own(self, caller: Caller, task_id: str, field: str = "id") -> StoredTask:
        caller.note("task_id", task_id)
        check_id(task_id, field, self._limits)
        stored = await self._tasks.get(caller.owner, caller.tenant, task_id)
        if stored is None:
            raise TaskNotFound
        return stored


def _note(caller: Caller, started: Run | MessageKey) -> None:
    """Have the audit log know which task a message became; one that was answered at once became none."""
    if caller.trail is None:
        return
    if isinstance(started, Run):
        caller.note("context_id", started.task().context_id)
        caller.note("task_id", started.task_id)
    elif started.answer is None:
        caller.note("task_id", started.task_id)
