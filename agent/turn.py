"""The turn of a run: from its conversation to its last event."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from agent.errors import RequestError, TurnFailed
from agent.executor import execute
from agent.foreign import check
from agent.model import SETTLED, Message, StatusUpdate, TaskState
from agent.retold import retold

if TYPE_CHECKING:
    from collections.abc import Callable

    from a2a_state.contexts import Context
    from agent.conversations import Conversations
    from agent.model import Event
    from agent.quotas.charge import Charge
    from agent.run import Run
    from agent.stacks import TurnEvent
    from agent.work import Work

    type Hear = Callable[[TurnEvent], None]

TOO_LONG = "The answer is longer than this server keeps."
TOOK_TOO_LONG = "The agent did not finish in time."


async def run_turn(conversations: Conversations, run: Run, work: Work, most_bytes: int) -> None:
    """Publish what the stack makes of the message; what that costs is taken before its end is told."""
    try:
        await _run_turn(conversations, run, work, most_bytes)
    except RequestError:
        if run.charge is not None:
            run.charge.meter.refused()
        raise
    finally:
        if run.charge is not None:
            await run.charge.settle()


async def _run_turn(conversations: Conversations, run: Run, work: Work, most_bytes: int) -> None:
    context = await _context(conversations, run, work)
    run.conversation_id = context.conversation_id
    request = msgspec.structs.replace(work.request, conversation_id=run.conversation_id)
    if context.agent_id is not None:
        request = await conversations.with_agent(request, context)
    if work.row is not None and work.recovers_from is not None:
        run.recover(work.row.recoveries)
        for artifact in retold(work.task, work.kept_artifacts):
            run.publish(artifact)
    charge = run.charge
    hear = check if charge is None else charge.begin(request, context.tokens)
    if work.hear is not None:
        hear = _both(hear, work.hear)
    events = execute(work.stack or conversations.stack, request, work.kept_artifacts, hear)
    async with aclosing(events):
        async for event in events:
            if run.settled:
                raise TurnFailed(TOOK_TOO_LONG)
            if charge is not None:
                await _settle(charge, event)
            _publish(run, event, most_bytes, is_task=work.is_task or work.row is not None)


def _both(first: Hear, second: Hear) -> Hear:
    def hear(event: TurnEvent) -> None:
        first(event)
        second(event)

    return hear


async def _settle(charge: Charge, event: Event) -> None:
    """Take what the turn has spent before its last event is told."""
    state = event.status.state if isinstance(event, StatusUpdate) else None
    if state is TaskState.FAILED:
        charge.meter.refused()
    if state in SETTLED or isinstance(event, Message):
        await charge.settle()


def _publish(run: Run, event: Event, most_bytes: int, *, is_task: bool) -> None:
    if run.feed.error is not None:
        raise run.feed.error
    if is_task or not isinstance(event, Message):
        run.begin()
    run.publish(event)
    if run.settled:
        return
    if run.feed.size > most_bytes:
        raise TurnFailed(TOO_LONG)


async def _context(conversations: Conversations, run: Run, work: Work) -> Context:
    caller, context_id = work.caller, work.task.context_id
    if work.must_exist:
        known = await conversations.of_known(caller, context_id)
        # It may be deleted before the task is stored: then that is not.
        run.within = known
        return known
    if not work.is_new_context:
        return await conversations.of(caller, context_id)
    context = await conversations.start(caller, context_id)
    # Only this message knows the new context: it can be stored along with the task.
    run.in_context(context)
    return context
