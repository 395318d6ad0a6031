"""How the run of a task ends that does not end by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.dialects.errors import error_reason
from agent.errors import StackError, StackTimeout, reason_of
from agent.turn import TOOK_TOO_LONG

if TYPE_CHECKING:
    from agent.errors import AgentError
    from agent.run import Run


async def end_anyway(run: Run) -> None:
    """End a task as canceled while its turn goes on."""
    if run.charge is not None:
        await run.charge.settle()
    if not run.settled:
        run.cancel()
    await run.finish()


def stop(run: Run, job: asyncio.Task[None]) -> None:
    """Cancel a job unless it has settled; in its first step at the earliest, else nothing would end."""
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: run.settled or run.feed.is_ended or job.cancel())


def end_by(run: Run, exc: TimeoutError | AgentError) -> AgentError | None:
    """Fail the task; or return what the caller is told instead: never both."""
    if isinstance(exc, TimeoutError):
        run.fail(TOOK_TOO_LONG, reason_of(StackTimeout()))
    elif isinstance(exc, StackError):
        run.fail(exc.message, reason_of(exc))
    elif run.begun:
        run.fail(exc.message, error_reason(exc))
    else:
        return exc
    return None
