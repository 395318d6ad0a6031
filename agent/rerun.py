"""A task whose process died -> the work of running its latest message again."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

import msgspec

from agent.caller import Caller
from agent.errors import RequestError
from agent.lease import SEQ_GAP
from agent.model import Role
from agent.references import referenced_tasks
from agent.replay import restore
from agent.stacks import BaseStack, Credentials
from agent.turn_requests import read_stored_request, turn_request
from agent.work import Work

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from a2a_state.tasks import StoredTask, Tasks
    from agent.settings import Settings
    from agent.settings.own import Limits
    from agent.stacks import TurnCompleted, TurnEvent, TurnRequest


class Concluded(BaseStack):
    """Tells what became of a turn that ended while nobody listened."""

    def __init__(self, settings: Settings, outcome: TurnCompleted) -> None:
        """Keep the end of the turn."""
        super().__init__(settings)
        self._outcome = outcome

    @override
    async def turn(self, request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        yield self._outcome


async def rerun(stored: StoredTask, tasks: Tasks, limits: Limits) -> Work | None:
    """Return the work; None when what is stored is not enough to do it."""
    row, task = stored.row, restore(stored)
    caller = Caller(row.owner, row.tenant)
    try:
        request = read_stored_request(row.request)
        sent = [message for message in task.history if message.role is Role.USER]
        if request is None or not sent or sent[-1].message_id != request.message_id:
            return None
        if request.shown:
            caller = msgspec.structs.replace(caller, credentials=Credentials(lost=request.shown))
        referenced = await referenced_tasks(tasks, caller, sent[-1])
        turn = turn_request(caller, task, sent[-1], request, referenced, limits)
    except (RequestError, msgspec.MsgspecError):
        return None
    return Work(
        caller,
        task,
        turn,
        row.request or b"",
        row=row,
        kept_artifacts=request.kept_artifacts,
        recovers_from=stored.last_seq + SEQ_GAP,
    )
