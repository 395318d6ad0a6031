"""What a turn asks its caller for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from agent.agents.wire import call_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.agents.base import Json
    from agent.model import Task


CALLS, APPROVALS = "tool_calls", "approvals"


def calls_in(data: Json, *kinds: str) -> Sequence[Json]:
    """Return the calls that the data of a question names: the caller's, and those to be approved.

    With ``kinds`` only such.
    """
    if not isinstance(data, dict):
        return ()
    listed = [data.get(kind) for kind in kinds or (CALLS, APPROVALS)]
    calls = [call for each in listed if isinstance(each, list) for call in each]
    return [
        call_of(call["call_id"], str(call.get("tool_name") or ""), call.get("arguments", {}))
        for call in calls
        if isinstance(call, dict) and isinstance(call.get("call_id"), str)
    ]


def question_of(task: Task) -> Json:
    """Return the data of what a task asks; None where it asks nothing that has data."""
    parts = task.status.message.parts if task.status.message is not None else ()
    return next((part.data for part in parts if part.data is not UNSET), None)
