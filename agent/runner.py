"""Runs tasks: takes a message to its turn, and the turn's events to the log and to whoever follows."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from agent.admission import Admission
from agent.budget import Budget
from agent.clock import now
from agent.ending import end_anyway, end_by, stop
from agent.errors import AgentError, ServerStopping, TaskTaken, TurnFailed
from agent.executor import INTERNAL
from agent.lease import SEQ_GAP
from agent.run import Run
from agent.turn import run_turn

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from agent.conversations import Conversations
    from agent.push.push import Push
    from agent.quotas.charge import Charge
    from agent.quotas.quotas import Quotas
    from agent.settings.own import Limits
    from agent.state import State
    from agent.work import Work

logger = logging.getLogger(__name__)

LEAST_EVENT_BYTES = 64
CLOSE_SECONDS = 3.0
STACK_CANCEL_SECONDS = 5.0
# How long a stack may take to give up a turn that is canceled.
PATIENCE_SECONDS = 10.0
RETRY_AFTER_SECONDS = 5
STOPPED = "The server was stopped."
GOES_ON = "The server is stopping; the task goes on: subscribe to it with Last-Event-ID."


class Runner:
    """The tasks that run in this process."""

    def __init__(
        self,
        conversations: Conversations,
        state: State,
        push: Push,
        limits: Limits,
        *,
        hands_over: bool,
        quotas: Quotas | None = None,
    ) -> None:
        """``hands_over`` says that another process goes on with what runs when this one stops."""
        self.patience = PATIENCE_SECONDS
        self.budget = Budget(limits)
        self._conversations = conversations
        self._state = state
        self._push = push
        self._quotas = quotas
        self._limits = limits
        # The number of events is bounded too: whoever takes the task over begins above all of them.
        self._turn_bytes = min(limits.turn_bytes, SEQ_GAP * LEAST_EVENT_BYTES)
        self._hands_over = hands_over
        self._admission = Admission(limits)
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._runs: dict[str, Run] = {}
        self._canceled: set[str] = set()
        self._insisting: set[asyncio.Task[None]] = set()
        self._draining = False

    async def start(self, work: Work) -> Run:
        """Run a message apart from the connection it came by.

        Raises ``TooManyTasks``, ``ServerStopping`` and ``QuotaExceeded``.
        """
        self.check_open()
        # Who acts for another takes no place of that one.
        user_id = work.caller.user_id
        await self._admission.enter(user_id)
        charge: Charge | None = None
        try:
            if self._quotas is not None:
                charge = await _charge(self._quotas, self._conversations, work)
            await self._check_still(work)
            run = Run(
                self._state,
                work.caller,
                work.task,
                work.row,
                request=work.stored_request,
                recovers_from=work.recovers_from,
                committed=self._push.wake if self._push.enabled else None,
            )
            run.charge = charge
        except BaseException:
            self._admission.leave(user_id)
            if charge is not None:
                charge.give_back()
            raise
        self._spawn(self._run(run, work), run)
        return run

    @property
    def is_stopping(self) -> bool:
        """Whether the server takes no more work."""
        return self._draining

    def check_open(self, message: str | None = None) -> None:
        """Raise ``ServerStopping`` once the server takes no more work."""
        if self._draining:
            raise ServerStopping(RETRY_AFTER_SECONDS, message)

    def has_place(self, user_id: str) -> bool:
        """Whether a task of a caller's could begin at once."""
        return self._admission.has_place(user_id)

    def run_of(self, owner: str, tenant: str, task_id: str) -> Run | None:
        """Return the run of a task that runs here, if it is this owner's: it tells all that is in it."""
        run = self._runs.get(task_id)
        if run is None or (run.caller.owner, run.caller.tenant) != (owner, tenant):
            return None
        return run

    def running(self) -> list[str]:
        """Return the ids of the tasks that run here."""
        return list(self._jobs)

    async def cancel(self, task_id: str) -> None:
        """Stop a task that runs here, and wait until it has ended one way or another."""
        if (job := self.cancel_soon(task_id)) is not None:
            await asyncio.wait([job], timeout=self.patience + 1)

    def cancel_soon(self, task_id: str) -> asyncio.Task[None] | None:
        """Stop a task that runs here; returns what is done when its turn has been given up."""
        run, job = self._runs.get(task_id), self._jobs.get(task_id)
        if run is None or job is None:
            return None
        if not run.settled and task_id not in self._canceled:
            self._canceled.add(task_id)
            stop(run, job)
            asyncio.get_running_loop().call_later(self.patience, self._insist, run, job)
        return job

    def give_up(self, task_ids: Iterable[str]) -> None:
        """Stop the runs of tasks that another process goes on with; followers go on with that one."""
        for task_id in task_ids:
            run, job = self._runs.get(task_id), self._jobs.get(task_id)
            if run and job and not run.settled and run.feed.error is None:
                run.feed.error = TaskTaken()
                stop(run, job)

    async def drain(self, seconds: float) -> None:
        """Take no more work, and wait for what runs for so long."""
        self._draining = True
        if self._jobs:
            await asyncio.wait(self._jobs.values(), timeout=seconds)

    async def close(self) -> None:
        """Stop what runs; a stack that does not give up is not waited for."""
        self._draining = True
        for task_id, job in self._jobs.items():
            stop(self._runs[task_id], job)
        if self._jobs:
            await asyncio.wait(self._jobs.values(), timeout=CLOSE_SECONDS)

    def _insist(self, run: Run, job: asyncio.Task[None]) -> None:
        """End a task whose stack does not give up: what that says later is not heard."""
        if not (job.done() or run.settled):
            self._insisting.add(ending := asyncio.create_task(end_anyway(run)))
            ending.add_done_callback(self._insisting.discard)

    async def _check_still(self, work: Work) -> None:
        """Look again at what others may have taken while a place was waited for."""
        key, at = work.key, now()
        if key is not None and key.created_at + self._state.holder.seconds * 500 <= at:
            kept = msgspec.structs.replace(key, created_at=at)
            if not await self._state.keys.replace(key, kept):
                raise TaskTaken
        if work.row is not None and work.row.lease_until <= now():
            raise TaskTaken
        self.check_open()

    def _spawn(self, coroutine: Coroutine[None, None, None], run: Run) -> None:
        job = asyncio.create_task(coroutine, name=run.task_id)
        self._runs[run.task_id], self._jobs[run.task_id] = run, job
        job.add_done_callback(lambda job: self._ended(job, run))

    def _ended(self, job: asyncio.Task[None], run: Run) -> None:
        self._admission.leave(run.caller.user_id)
        if run.hold is not None:
            run.hold.end()
        task_id = run.task_id
        # A follow-up may run already: it is taken as soon as the task waits.
        if self._jobs.get(task_id) is job:
            del self._jobs[task_id], self._runs[task_id]
            self._canceled.discard(task_id)

    async def _run(self, run: Run, work: Work) -> None:
        begin = asyncio.get_running_loop().call_later(work.begin_after, run.begin)
        error: AgentError | None = None
        try:
            async with asyncio.timeout(self._limits.turn_seconds):
                await run_turn(self._conversations, run, work, self._turn_bytes)
        except (TimeoutError, AgentError) as exc:
            if isinstance(exc, (TimeoutError, TurnFailed)):
                await self._cancel_turn(run)
            error = end_by(run, exc)
        except Exception:
            # What a stack says may be such that it cannot even be written down.
            logger.exception("Task %s broke", run.task_id)
            run.fail(INTERNAL)
        except asyncio.CancelledError:
            # It was asked for, here or by ``close``: what remains to be done must not be canceled again.
            error = await self._stopped(run)
        finally:
            begin.cancel()
            await run.finish(error)
            if not run.begun:
                await self._forget(run, work)
            if run.feed.error is not None or run.task_id in self._canceled:
                lost = run.conversation_id
                await self._conversations.forget_lost(work.caller, work.task.context_id, lost)

    async def _stopped(self, run: Run) -> AgentError | None:
        """Say how a task ends whose turn was stopped; returns what its followers are told instead."""
        if run.task_id in self._canceled:
            await self._cancel_turn(run)
            run.cancel()
        elif not self._hands_over:
            run.fail(STOPPED)
        elif not run.begun:
            return ServerStopping(RETRY_AFTER_SECONDS)
        elif not run.settled:
            run.hand_over()
            return ServerStopping(RETRY_AFTER_SECONDS, GOES_ON)
        return None

    async def _cancel_turn(self, run: Run) -> None:
        """Stop the turn on the stack's side as well: closing its stream may not be enough there."""
        if run.turn_id is None or run.conversation_id is None:
            return
        try:
            async with asyncio.timeout(STACK_CANCEL_SECONDS):
                await self._conversations.stack.cancel(run.conversation_id, run.turn_id)
        except (Exception, asyncio.CancelledError):
            # Whoever cancels this, as ``close`` may, wants the task to end: it is about to.
            logger.exception("The turn of task %s could not be canceled", run.task_id)

    async def _forget(self, run: Run, work: Work) -> None:
        """Leave nothing of a message that became no task."""
        if work.row is not None:
            await self._state.tasks.release(work.row)
        if work.push_config_id is not None:
            await self._push.delete(work.caller, run.task_id, work.push_config_id)
        if work.key is None:
            return
        if run.message is None:
            await self._state.keys.forget(work.key)
        else:
            await self._state.keys.answer(work.key, msgspec.json.encode(run.message))


async def _charge(quotas: Quotas, conversations: Conversations, work: Work) -> Charge:
    """Return the bill; what was admitted before its process died is not asked for a quota again."""
    caller, held = work.caller, 0
    if not work.is_new_context:
        held = await conversations.tokens(caller, work.task.context_id)
    if work.recovers_from is None:
        return await quotas.admit(caller.user_id, work.request, held)
    return quotas.charge(caller.user_id, work.request, held)
