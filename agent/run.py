"""One task while it runs in this process: what happens is applied, stored, and shown to followers.

State before news: a follower hears of a change of state only when it is committed. Text may be
heard first, but is stored within ``FLUSH_SECONDS``, many deltas in one row.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import msgspec

from a2a_state.contexts import Grown
from a2a_state.journal import Entry, EventRow
from a2a_state.tasks import TaskRow
from agent.clock import milliseconds, now
from agent.feed import STORED, Feed
from agent.listener import Telling
from agent.model import (
    INTERRUPTED,
    SETTLED,
    TERMINAL,
    Event,
    Message,
    Metadata,
    Part,
    Role,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
    timestamp,
)
from agent.task_builder import TaskBuilder

if TYPE_CHECKING:
    from collections.abc import Callable

    from a2a_state.contexts import Context
    from agent.budget import Hold
    from agent.caller import Caller
    from agent.errors import AgentError
    from agent.quotas.charge import Charge
    from agent.state import State

FLUSH_SECONDS = 0.1


class Run:
    """Publishes the events of one task, in order, to the log and to its ``feed``."""

    def __init__(
        self,
        state: State,
        caller: Caller,
        task: Task,
        row: TaskRow | None = None,
        *,
        request: bytes | None = None,
        recovers_from: int | None = None,
        committed: Callable[[str], None] | None = None,
    ) -> None:
        """Go on with ``row``'s task, which this process has taken, or start a new one.

        ``request`` is stored with the task. ``recovers_from`` is the last number that followers can
        have seen of a run that broke off, whose task they know. ``committed`` hears the task's id
        when a change of state is stored.
        """
        self.caller = caller
        self.message: Message | None = None
        self.conversation_id: str | None = None
        self.charge: Charge | None = None
        """What the turn costs, if anybody counts that."""
        self.hold: Hold | None = None
        """What its message takes of the budget, until it has ended."""
        self.within: Context | None = None
        """What must be there when a new task is stored; else followers hear ``ContextNotFound``."""
        self.settled = task.status.state in SETTLED
        """Whether the last event ended or interrupted the task."""
        self.begun = recovers_from is not None
        self._request = request
        self._told = committed
        self._journal = state.journal
        self._holder = state.holder
        self._audit = state.audit
        self._telling = Telling(state.listeners, waited=task.status.state in INTERRUPTED)
        self._fence = row.fence if row else 1
        self.feed = Feed((recovers_from or (row.seq if row else 0)) + 1)
        self.turn_id = row.turn_id if row else None
        self._builder = TaskBuilder(task)
        self._context: Context | None = None
        self._has_grown = False
        self._created_at = row.created_at if row else now()
        self._released = False
        # Numbers of events: handed to the journal; committed; up to the last change of state, which
        # followers may not hear of before it is committed.
        self._collected = 0
        self._committed = 0
        self._last_state = 0
        self._writing = False
        self._flush: asyncio.TimerHandle | None = None
        self._written: asyncio.Future[None] | None = None

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self._builder.id

    def task(self) -> Task:
        """Return the task as of the last event."""
        return self._builder.task()

    def in_context(self, context: Context) -> None:
        """Store a context that is new with this task."""
        self._context = context

    def begin(self) -> None:
        """Store the task and publish it as the first event; again is nothing."""
        if not self.begun:
            self.begun = True
            self.feed.add(self.task())
            self._save()

    def publish(self, event: Event) -> None:
        """Apply, store and pass on one event."""
        if isinstance(event, Message) and self.begun:
            # Too late for a message without a task: it is the last word of this one.
            status = TaskStatus(TaskState.COMPLETED, self._of_task(event), timestamp())
            event = StatusUpdate(self._builder.id, self._builder.context_id, status)
        if self.charge is not None and self.caller.acts_as is None:
            # What is left to somebody else is not for the owner of the task to read.
            event = self.charge.on(event)
        if isinstance(event, Message):
            self.message = event
            return
        self.feed.add(event)
        self._builder.apply(event)
        if isinstance(event, StatusUpdate):
            self.settled = event.status.state in SETTLED
            if event.metadata is not None:
                self.turn_id = event.metadata.get("turn_id", self.turn_id)
            self._save()
        else:
            self._pass_on()

    def fail(self, text: str, reason: str | None = None) -> None:
        """End the task as failed, unless it has settled: ``text`` is for people, ``reason`` for programs."""
        self.begin()
        if self.settled:
            return
        message = Message(
            message_id=str(uuid.uuid4()),
            role=Role.AGENT,
            parts=[Part(text=text)],
            task_id=self._builder.id,
            context_id=self._builder.context_id,
        )
        self._publish_state(TaskState.FAILED, message, {"reason": reason} if reason else None)

    def cancel(self) -> None:
        """End the task as canceled, also one that waits, unless it has ended."""
        self.begin()
        if self._builder.status.state not in TERMINAL:
            self._publish_state(TaskState.CANCELED, None)

    def hand_over(self) -> None:
        """Let another process go on with the task at once; nothing is published after this."""
        self._released = True
        self._publish_state(TaskState.WORKING, None)

    def recover(self, attempt: int) -> None:
        """Tell that the turn begins again; artifacts that it makes take the place of those before."""
        metadata = {"recovery": {"attempt": attempt}}
        self._publish_state(TaskState.WORKING, None, metadata)

    def _publish_state(
        self, state: TaskState, message: Message | None, metadata: Metadata = None
    ) -> None:
        task_id, context_id = self._builder.id, self._builder.context_id
        status = TaskStatus(state, message, timestamp())
        self.publish(StatusUpdate(task_id, context_id, status, metadata))

    async def finish(self, error: AgentError | None = None) -> None:
        """Wait until everything is stored; then followers end, by ``error`` if there is one."""
        message_grew = self.charge is not None and self.message is not None
        if self._collected < len(self.feed) or self._context is not None or message_grew:
            self._save()
        try:
            while self._writing and self.feed.error is None:
                self._written = asyncio.get_running_loop().create_future()
                await self._written
        finally:
            self.feed.error = self.feed.error or error
            self.feed.end()
        self._telling.tell_end(self)

    def collect(self) -> Entry:
        """See ``Source``: the row is written with a change of state, events always."""
        if self.feed.error is not None:
            # What is lost is not followed by more: that would leave a gap, or stand in another's log.
            return Entry()
        start, self._collected = self._collected, len(self.feed)
        context, self._context = self._context, None
        grown = self._grown()
        if start == self._collected:
            return Entry(context=context, grown=grown)
        fresh = self.feed.stored_form(start, self._collected)
        events = EventRow(
            task_id=self._builder.id,
            first_seq=self.feed.first_seq + start,
            last_seq=self.feed.first_seq + self._collected - 1,
            body=b"[" + b",".join(fresh) + b"]",
            fence=self._fence,
        )
        row = self._row(events) if self._last_state > start else None
        return Entry(row, events, context, grown=grown, within=self.within)

    def written(self, entry: Entry, error: AgentError | None) -> None:
        """See ``Source``."""
        if error is not None:
            self.feed.error = self.feed.error or error
        elif entry.events is not None:
            self._committed = entry.events.last_seq - self.feed.first_seq + 1
            self._show()
            if entry.task is not None:
                self._tell(entry.task)
        self._writing = self._collected < len(self.feed) and self._flush is None
        if self._written is not None and not self._written.done():
            self._written.set_result(None)

    def _tell(self, row: TaskRow) -> None:
        """Let it be known what is stored of the task by now."""
        if self._told is not None:
            self._told(row.task_id)
        if self._audit is not None and row.ended_at is not None:
            self._audit.ended(row, self.caller.trail)

    def _of_task(self, message: Message) -> Message:
        return msgspec.structs.replace(message, task_id=self._builder.id)

    def _save(self) -> None:
        """Have a change of state written with the next group."""
        self._last_state = len(self.feed)
        self._notify()

    def _pass_on(self) -> None:
        """Show text at once, and have it written soon."""
        self._show()
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._notify)

    def _show(self) -> None:
        """Show what is committed, and the text after it unless a change of state is on its way."""
        state_is_committed = self._committed >= self._last_state
        self.feed.show(len(self.feed) if state_is_committed else self._committed)

    def _notify(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        self._writing = True
        self._journal.notify(self)

    def _grown(self) -> Grown | None:
        """Return how the conversation grew by this turn, once: when it is over, and if anybody counts."""
        if self.charge is None or self._has_grown or not (self.settled or self.message):
            return None
        self._has_grown = True
        meter, caller = self.charge.meter, self.caller
        return Grown(
            caller.owner, caller.tenant, self._builder.context_id, meter.held_before, meter.held
        )

    def _row(self, events: EventRow) -> TaskRow:
        at = now()
        state = self._builder.status.state
        return TaskRow(
            task_id=self._builder.id,
            owner=self.caller.owner,
            tenant=self.caller.tenant,
            context_id=self._builder.context_id,
            state=state.value,
            turn_id=self.turn_id,
            body=STORED.task(self.task()),
            seq=events.last_seq,
            fence=self._fence,
            lease_holder=self._holder.name,
            # Nobody runs a settled task: whoever goes on with it takes it.
            lease_until=0 if self._released or self.settled else self._holder.until(),
            created_at=self._created_at,
            updated_at=milliseconds(self._builder.status.timestamp) or at,
            ended_at=at if state in TERMINAL else None,
            request=self._request,
            model=self._builder.model,
            messages=self._builder.user_messages,
            is_new=events.first_seq == 1,
        )
