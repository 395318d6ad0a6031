"""What there is to be run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from a2a_state.message_keys import MessageKey
    from a2a_state.tasks import TaskRow
    from agent.caller import Caller
    from agent.model import Task
    from agent.stacks import Stack, TurnEvent, TurnRequest

BEGIN_SECONDS = 1.0
"""A stack may answer with a message instead of a task, or refuse the content: so the task is made
with its first event, but after this time in any case."""

AT_ONCE_SECONDS = 0.1
"""The same for a caller who does not want to wait."""


class Work(msgspec.Struct, frozen=True):
    """A message to be run: as a new task, or as the continuation of ``row``'s.

    ``kept_artifacts`` are those of earlier turns. ``recovers_from`` is the last event number that
    followers can have seen of a turn that broke off; ``stack`` runs this turn alone. A message to a context
    that ``must_exist`` is refused where there is none. What ``is_task`` is never answered without one.
    ``hear`` is told every event of the stack.
    """

    caller: Caller
    task: Task
    request: TurnRequest
    stored_request: bytes
    row: TaskRow | None = None
    key: MessageKey | None = None
    push_config_id: str | None = None
    is_new_context: bool = False
    must_exist: bool = False
    is_task: bool = False
    begin_after: float = BEGIN_SECONDS
    kept_artifacts: tuple[str, ...] = ()
    recovers_from: int | None = None
    stack: Stack | None = None
    hear: Callable[[TurnEvent], None] | None = None
