"""The tasks that a message refers to (1.0 section 3.4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import TaskNotFound
from agent.replay import restore

if TYPE_CHECKING:
    from a2a_state.tasks import Tasks
    from agent.budget import Hold
    from agent.caller import Caller
    from agent.model import Message, Task


async def referenced_tasks(
    tasks: Tasks, caller: Caller, message: Message, hold: Hold | None = None
) -> list[Task]:
    """Return the caller's tasks that ``message`` names; ``hold`` counts them with it.

    Raises ``TaskNotFound`` and ``TooManyTasks``.
    """
    referenced = []
    for task_id in dict.fromkeys(message.reference_task_ids or ()):
        stored = await tasks.get(caller.owner, caller.tenant, task_id)
        if stored is None:
            raise TaskNotFound("There is no task of one of message.referenceTaskIds")
        if hold is not None:
            hold.grow(len(stored.row.body))
        referenced.append(restore(stored))
    return referenced
