"""Runs tasks: takes a message to its turn, and the turn's events to the log and to whoever follows."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from a2a_state.contexts import Context
from agent.clock import now
from agent.errors import AgentError, StackError, TooManyTasks, TurnFailed
from agent.executor import INTERNAL, execute
from agent.model import Message, Task
from agent.run import Run

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from a2a_state.contexts import Contexts
    from a2a_state.journal import Journal
    from a2a_state.tasks import TaskRow, Tasks
    from agent.lease import Holder
    from agent.model import Caller, Event
    from agent.settings.own import Limits
    from agent.stacks import Stack, TurnRequest

logger = logging.getLogger(__name__)

BEGIN_SECONDS = 1.0
"""A stack may answer with a message instead of a task, or refuse the content: so the task is made
with its first event, but after this time in any case."""

AT_ONCE_SECONDS = 0.1
"""The same for a caller who does not want to wait."""

CLOSE_SECONDS = 3.0
RETRY_AFTER_SECONDS = 5
TOO_LONG = "The answer is longer than this server keeps."
TOOK_TOO_LONG = "The agent did not finish in time."


class Work(msgspec.Struct, frozen=True):
    """A message to be run: as a new task, or as the continuation of ``row``'s."""

    caller: Caller
    task: Task
    request: TurnRequest
    row: TaskRow | None = None
    is_new_context: bool = False
    begin_after: float = BEGIN_SECONDS


class Runner:
    """The tasks that run in this process."""

    def __init__(
        self,
        stack: Stack,
        stack_name: str,
        journal: Journal,
        contexts: Contexts,
        tasks: Tasks,
        holder: Holder,
        limits: Limits,
    ) -> None:
        """``stack_name`` marks conversations as belonging to this stack."""
        self._stack = stack
        self._stack_name = stack_name
        self._journal = journal
        self._contexts = contexts
        self._tasks = tasks
        self._limits = limits
        self._holder = holder
        self._jobs: set[asyncio.Task[None]] = set()
        self._owners: dict[str, int] = {}
        self._starting: dict[tuple[str, str, str], asyncio.Lock] = {}

    def start(self, work: Work) -> Run:
        """Run a message apart from the connection it came by; raises ``TooManyTasks``."""
        owner = work.caller.owner
        running = self._owners.get(owner, 0)
        if (
            len(self._jobs) >= self._limits.running_tasks
            or running >= self._limits.running_tasks_per_owner
        ):
            raise TooManyTasks(RETRY_AFTER_SECONDS)
        run = Run(self._journal, self._holder, work.caller, work.task, work.row)
        self._owners[owner] = running + 1
        self._spawn(self._run(run, work), owner, run.task_id)
        return run

    def running(self) -> list[str]:
        """Return the ids of the tasks that run."""
        return [job.get_name() for job in self._jobs]

    async def close(self) -> None:
        """Stop what runs; a stack that does not give up is not waited for."""
        for job in self._jobs:
            job.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=CLOSE_SECONDS)

    def _spawn(self, coroutine: Coroutine[None, None, None], owner: str, task_id: str) -> None:
        job = asyncio.create_task(coroutine, name=task_id)
        self._jobs.add(job)
        job.add_done_callback(lambda job: self._ended(job, owner))

    def _ended(self, job: asyncio.Task[None], owner: str) -> None:
        self._jobs.discard(job)
        self._owners[owner] -= 1
        if not self._owners[owner]:
            del self._owners[owner]

    async def _run(self, run: Run, work: Work) -> None:
        begin = asyncio.get_running_loop().call_later(work.begin_after, run.begin)
        error: AgentError | None = None
        try:
            async with asyncio.timeout(self._limits.turn_seconds):
                await self._turn(run, work)
        except (TimeoutError, AgentError) as exc:
            error = _ending(run, exc)
        except Exception:
            # What a stack says may be such that it cannot even be written down.
            logger.exception("Task %s broke", run.task_id)
            run.fail(INTERNAL)
        except asyncio.CancelledError:
            run.fail("The server was stopped.")
            raise
        finally:
            begin.cancel()
            await run.finish(error)
            if work.row is not None and not run.begun:
                await self._tasks.release(work.row)

    async def _turn(self, run: Run, work: Work) -> None:
        request = work.request
        conversation_id = await self._conversation(run, work)
        request = msgspec.structs.replace(request, conversation_id=conversation_id)
        taken = [artifact.artifact_id for artifact in work.task.artifacts]
        async with aclosing(execute(self._stack, request, taken)) as events:
            async for event in events:
                self._publish(run, event, continues=work.row is not None)

    def _publish(self, run: Run, event: Event, *, continues: bool) -> None:
        if run.feed.error is not None:
            raise run.feed.error
        if continues or not isinstance(event, Message):
            run.begin()
        run.publish(event)
        if run.feed.size > self._limits.turn_bytes and not run.settled:
            raise TurnFailed(TOO_LONG)

    async def _conversation(self, run: Run, work: Work) -> str:
        """Return the conversation of the context, started if need be; parallel messages get the same one."""
        caller, context_id = work.caller, work.task.context_id
        if work.is_new_context:
            context = await self._start_conversation(caller, context_id)
            # Only this message knows the new context: it can be stored along with the task.
            run.in_context(context)
            return context.conversation_id
        key = (caller.owner, caller.tenant, context_id)
        lock = self._starting.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                known = await self._contexts.get(*key)
                if known is not None and known.stack == self._stack_name:
                    return known.conversation_id
                context = await self._start_conversation(caller, context_id)
                return (await self._contexts.add(context)).conversation_id
        finally:
            if not lock.locked():
                self._starting.pop(key, None)

    async def _start_conversation(self, caller: Caller, context_id: str) -> Context:
        return Context(
            owner=caller.owner,
            tenant=caller.tenant,
            context_id=context_id,
            stack=self._stack_name,
            conversation_id=await self._stack.start_conversation(caller.owner),
            created_at=now(),
        )


def _ending(run: Run, exc: TimeoutError | AgentError) -> AgentError | None:
    """Fail the task; or return what the caller is told instead: never both."""
    if isinstance(exc, TimeoutError):
        run.fail(TOOK_TOO_LONG)
    elif run.begun or isinstance(exc, StackError):
        run.fail(exc.message)
    else:
        return exc
    return None
