"""What a stream is made of, whatever tells it: a run of this process, the log, or both.

Whoever follows a task hears each event after a number once and in order, whichever process runs the
task, and also when another one goes on with it. What runs here is heard as it happens; what runs
elsewhere is read from the log.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from agent.errors import AgentError, TaskNotFound, TaskTaken
from agent.feed import STORED
from agent.model import INTERRUPTED, TERMINAL, StatusUpdate, Task, TaskState
from agent.replay import numbered
from agent.runner import GOES_ON

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from a2a_state.tasks import Tasks
    from agent.caller import Caller
    from agent.dialects import Encoder
    from agent.model import Event
    from agent.run import Run
    from agent.runner import Runner

type Numbered[Written] = tuple[int | None, Written]
"""An encoded event and its number in the task's log; a message without a task has none."""

POLL_SECONDS = 0.1
LONGEST_POLL_SECONDS = 0.5
SILENCE_SECONDS = 60.0
"""How often the log is read of a task that this process does not run: less often while nothing happens."""


class _Onward[Written]:
    """A dialect for who knows the task: that a follow-up begins is a change of state (1.0 section 3.1.2)."""

    def __init__(self, encoder: Encoder[Written]) -> None:
        """Name the way of writing after both: events are encoded once for each name."""
        self.version = f"{encoder.version} onward"
        self._encoder = encoder

    def event(self, event: Event) -> Written:
        """Write an event."""
        if isinstance(event, Task):
            event = StatusUpdate(event.id, event.context_id, event.status)
        return self._encoder.event(event)


class Followed(Protocol):
    """The events of one task from some point on."""

    def follow[Written](
        self, encoder: Encoder[Written], idle: float
    ) -> AsyncGenerator[list[Numbered[Written]]]:
        """Yield what is new, in order; an empty list tells of ``idle`` seconds of silence.

        Ends when the task ends or waits for its caller. Raises ``AgentError`` when only the stream ends.
        """


class Following:
    """Follows one task from event number ``after`` on."""

    def __init__(
        self,
        tasks: Tasks,
        runner: Runner,
        caller: Caller,
        task_id: str,
        after: int,
        snapshot: Task | None = None,
    ) -> None:
        """``snapshot`` is the task as of ``after``, which is told first."""
        self._tasks = tasks
        self._runner = runner
        self._caller = caller
        self._task_id = task_id
        self._after = after
        self._snapshot = snapshot
        # Who subscribes to a task that waits wants to hear how it goes on.
        self._heard = False
        self._told = False

    async def follow[Written](
        self, encoder: Encoder[Written], idle: float
    ) -> AsyncGenerator[list[Numbered[Written]]]:
        """See ``Followed``."""
        if self._snapshot is not None:
            self._told = True
            yield [(self._after, encoder.event(self._snapshot))]
        silence, pause = 0.0, POLL_SECONDS
        while True:
            heard = self._after
            async with aclosing(self._news(encoder, idle)) as news:
                async for events in news:
                    yield events
            if await self._is_over():
                return
            self._runner.check_open(GOES_ON)
            moved = self._after != heard
            silence, pause = (0.0, POLL_SECONDS) if moved else (silence + pause, pause * 2)
            if silence >= idle:
                silence = 0.0
                yield []
            pause = min(pause, LONGEST_POLL_SECONDS, idle)
            await asyncio.sleep(pause)

    async def _news[Written](
        self, encoder: Encoder[Written], idle: float
    ) -> AsyncGenerator[list[Numbered[Written]]]:
        """Yield what there is by now, and what a run of this process tells until it ends."""
        caller = self._caller
        run = self._runner.run_of(caller.owner, caller.tenant, self._task_id)
        async with aclosing(self._log(encoder, None if run is None else run.feed.first_seq)) as log:
            async for events in log:
                yield events
        if run is not None:
            async with aclosing(self._live(run, encoder, idle)) as live:
                async for events in live:
                    yield events

    async def _log[Written](
        self, encoder: Encoder[Written], before: int | None
    ) -> AsyncGenerator[list[Numbered[Written]]]:
        """Yield what the log holds by now, up to where the run that is followed live begins."""
        caller = self._caller
        while rows := await self._tasks.log(
            caller.owner, caller.tenant, self._task_id, self._after
        ):
            events: list[Numbered[Written]] = []
            for seq, event in numbered(rows, self._after):
                if before is None or seq < before:
                    events.append((seq, self._onward(encoder).event(event)))
                    self._told = True
            if not events:
                return
            self._moved(events)
            yield events

    async def _live[Written](
        self, run: Run, encoder: Encoder[Written], idle: float
    ) -> AsyncGenerator[list[Numbered[Written]]]:
        if self._after < run.feed.first_seq:
            encoder = self._onward(encoder)
        try:
            async with aclosing(run.feed.follow(encoder, idle, self._after)) as news:
                async for events in news:
                    self._moved(events)
                    yield events
        except TaskTaken:
            # Another process goes on with the task: its events are in the log.
            return
        except AgentError:
            # What is wrong with a message that was not taken in is for its sender to hear.
            if run.begun:
                raise

    def _onward[Written](self, encoder: Encoder[Written]) -> Encoder[Written]:
        return _Onward(encoder) if self._told else encoder

    def _moved(self, events: Sequence[Numbered[object]]) -> None:
        if events:
            self._heard = self._told = True
            self._after = events[-1][0] or self._after

    async def _is_over(self) -> bool:
        """Whether no more is to be told."""
        caller = self._caller
        standing = await self._tasks.standing(caller.owner, caller.tenant, self._task_id)
        if standing is None:
            raise TaskNotFound
        state = TaskState(standing.state)
        if not (state in TERMINAL or (state in INTERRUPTED and self._heard)):
            return False
        # It may have been written since the log was read.
        return not await self._tasks.log(caller.owner, caller.tenant, self._task_id, self._after)


class FollowedRun:
    """A run of this process from its beginning; if another process takes the task, from there on that one."""

    def __init__(self, run: Run, tasks: Tasks, runner: Runner) -> None:
        """Nothing is told yet."""
        self._run = run
        self._tasks = tasks
        self._runner = runner

    async def follow[Written](
        self, encoder: Encoder[Written], idle: float
    ) -> AsyncGenerator[list[Numbered[Written]]]:
        """See ``Followed``."""
        run, after = self._run, 0
        if run.message is not None and not run.begun:
            yield [(None, encoder.event(run.message))]
            return
        try:
            async with aclosing(run.feed.follow(encoder, idle)) as news:
                async for events in news:
                    after = events[-1][0] or after if events else after
                    yield events
        except TaskTaken:
            if not after:
                raise
        else:
            return
        going_on = Following(self._tasks, self._runner, run.caller, run.task_id, after)
        async with aclosing(going_on.follow(_Onward(encoder), idle)) as news:
            async for events in news:
                yield events


async def settled(following: Following) -> None:
    """Wait until the task has ended or waits for its caller."""
    async with aclosing(following.follow(STORED, SILENCE_SECONDS)) as events:
        async for _ in events:
            pass
