"""A message that was sent before: its caller hears of the first one's task again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.clock import now
from agent.errors import TaskNotFound
from agent.following import FollowedRun, Following, settled
from agent.idempotency import answer_of
from agent.model import SETTLED, Message, Role, Task, with_history
from agent.replay import numbered, restore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from a2a_state.message_keys import MessageKey
    from agent.caller import Caller
    from agent.dialects import Encoder
    from agent.following import Followed, Numbered
    from agent.idempotency import Idempotency
    from agent.model import SendRequest
    from agent.run import Run
    from agent.runner import Runner
    from agent.state import State

LOOK_SECONDS = 0.05


class Repeats:
    """Finds what became of messages, and tells it as if they had just been sent."""

    def __init__(self, idempotency: Idempotency, state: State, runner: Runner) -> None:
        """Keep what it looks into."""
        self._idempotency = idempotency
        self._tasks = state.tasks
        self._holder = state.holder
        self._runner = runner

    async def claim(self, key: MessageKey, message_id: str) -> MessageKey | None:
        """Return None when the message is new; else what stands under its key, which can be told then.

        Raises ``InvalidParams`` or ``KeyReused`` when another message stands there.
        """
        known = await self._idempotency.claim(key)
        while known is not None:
            if await self._is_there(known, message_id):
                return known
            # Its process may be about to take it in, or have died before it could.
            if known.created_at + self._holder.seconds * 1000 > now():
                await asyncio.sleep(LOOK_SECONDS)
            elif await self._idempotency.replace(known, key):
                return None
            known = await self._idempotency.known(key) or await self._idempotency.claim(key)
        return None

    async def send(self, caller: Caller, request: SendRequest, known: MessageKey) -> Task | Message:
        """Return what the first message was answered with, or the task as it stands by now."""
        if (answer := answer_of(known)) is not None:
            return answer
        run = await self._running(known, request)
        if run is not None and run.message is not None and not run.begun:
            return run.message
        task, seq = await self._task(caller, known.task_id)
        if task.status.state not in SETTLED and not request.return_immediately:
            await settled(Following(self._tasks, self._runner, caller, task.id, seq))
            task, _ = await self._task(caller, task.id)
        return with_history(task, request.history_length)

    async def stream(self, caller: Caller, request: SendRequest, known: MessageKey) -> Followed:
        """Follow the first message's stream, from its beginning or from ``last_event_id``."""
        if (answer := answer_of(known)) is not None:
            return _Said(answer)
        run = await self._running(known, request)
        if run is not None and not run.begun:
            return FollowedRun(run, self._tasks, self._runner)
        after = request.last_event_id
        if after is None:
            after = await self._beginning(caller, known.task_id, request.message.message_id)
        return Following(self._tasks, self._runner, caller, known.task_id, after)

    async def _running(self, known: MessageKey, request: SendRequest) -> Run | None:
        """Return the message's run, if it goes on here, when it is known what becomes of the message.

        A task that has begun may not be stored yet. What becomes of a later message is another matter.
        """
        run = self._runner.run_of(known.owner, known.tenant, known.task_id)
        if run is None or _sent(run.task())[-1:] != [request.message.message_id]:
            return None
        await run.feed.opened()
        return run

    async def _is_there(self, known: MessageKey, message_id: str) -> bool:
        """Whether the message was answered, or is part of its task, for which it may have to wait."""
        run = self._runner.run_of(known.owner, known.tenant, known.task_id)
        if known.answer is not None or (run is not None and message_id in _sent(run.task())):
            return True
        stored = await self._tasks.get(known.owner, known.tenant, known.task_id)
        return stored is not None and message_id in _sent(restore(stored))

    async def _beginning(self, caller: Caller, task_id: str, message_id: str) -> int:
        """Return the number before the event that a message's stream began with: the task, with it."""
        after = 0
        while rows := await self._tasks.log(caller.owner, caller.tenant, task_id, after):
            for seq, event in numbered(rows, after):
                after = seq
                if isinstance(event, Task) and event.history[-1].message_id == message_id:
                    return seq - 1
        return 0

    async def _task(self, caller: Caller, task_id: str) -> tuple[Task, int]:
        stored = await self._tasks.get(caller.owner, caller.tenant, task_id)
        if stored is None:
            raise TaskNotFound
        return restore(stored), stored.last_seq


def _sent(task: Task) -> list[str]:
    """Return the ids of what was said to the agent."""
    return [message.message_id for message in task.history if message.role is Role.USER]


class _Said:
    """A message instead of a task; see ``Followed``."""

    def __init__(self, message: Message) -> None:
        self._message = message

    async def follow[Written](
        self,
        encoder: Encoder[Written],
        idle: float,  # noqa: ARG002 - it is over before there can be silence
    ) -> AsyncGenerator[list[Numbered[Written]]]:
        yield [(None, encoder.event(self._message))]
