"""One message -> one turn of the stack -> A2A events; ``translation`` speaks both vocabularies."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from agent.errors import RequestError, StackError, reason_of
from agent.foreign import check
from agent.model import TaskState
from agent.translation import Translation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection

    from agent.model import Event
    from agent.stacks import Stack, TurnEvent, TurnRequest

logger = logging.getLogger(__name__)

BROKEN_OFF = "The agent ended without an answer."
INTERNAL = "The agent failed because of an internal error."
CLOSE_SECONDS = 3.0
"""How long a stack may take to give a turn up."""


async def execute(
    stack: Stack,
    request: TurnRequest,
    taken: Collection[str] = (),
    hear: Callable[[TurnEvent], None] = check,
) -> AsyncGenerator[Event]:
    """Run the turn; the last event is a settled status, or a message when the stack answers with one.

    ``taken`` are the ids of artifacts that the task has from earlier turns.
    ``hear`` is told every event of the stack, and raises ``InvalidAgentResponse`` for what is none.
    Raises ``RequestError`` when the stack cannot take the message at all; every other failure is a status.
    """
    turn = Translation(request, taken)
    events: AsyncIterator[TurnEvent] | None = None
    try:
        events = stack.turn(request)
        async for event in events:
            hear(event)
            for translated in turn.translate(event):
                yield translated
            if turn.settled:
                return
        yield turn.ended(TaskState.FAILED, BROKEN_OFF)
    except RequestError:
        raise
    except StackError as exc:
        logger.warning("Turn of task %s failed: %s", request.task_id, exc.message, exc_info=exc)
        yield turn.ended(TaskState.FAILED, exc.message, metadata={"reason": reason_of(exc)})
    except BaseException as exc:
        if _gives_up(exc):
            raise
        # A stack is foreign code: whatever it raises, SystemExit too, becomes a failed task and not the
        # end of the server; its text stays in the log.
        logger.exception("Turn of task %s raised", request.task_id)
        yield turn.ended(TaskState.FAILED, INTERNAL)
    finally:
        await _close(events)


async def _close(events: AsyncIterator[TurnEvent] | None) -> None:
    """Give the turn up; what the stack makes of that no longer changes what became of the task."""
    close = getattr(events, "aclose", None)
    if close is None:
        return
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await close()
    except TimeoutError:
        logger.exception("A turn was not closed within %s seconds", CLOSE_SECONDS)
    except BaseException as exc:
        if _gives_up(exc):
            raise
        logger.exception("A turn could not be closed")


def _gives_up(exc: BaseException) -> bool:
    """Whether the turn is given up from our side; a stack may raise the same for reasons of its own."""
    if isinstance(exc, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return isinstance(exc, GeneratorExit)
