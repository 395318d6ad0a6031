"""Who is told of turns that are over."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.caller import Caller
    from agent.model import Task
    from agent.run import Run

logger = logging.getLogger(__name__)


class TurnListener(Protocol):
    """Hears of each task that settles in this process, when that is stored, whoever ended it.

    A message that is answered without a task is nowhere kept, and not told of.
    """

    def turn_ended(self, caller: Caller, task: Task) -> None:
        """Take note; others wait for that, so it is done later if it takes long. Raises nothing.

        ``caller`` is who sent the latest message; the owner, where that was in another process. A task
        that waited is told of again when it goes on.
        """

    def wait_ended(self, caller: Caller, task: Task) -> None:
        """Take note that a task was canceled that waited: of its turns all is told. Raises nothing."""


class Telling:
    """Tells of the end of one run, once, whoever finishes it."""

    def __init__(self, listeners: Iterable[TurnListener], *, waited: bool) -> None:
        """``waited`` says that no turn runs: the task may only be canceled."""
        self._listeners = listeners
        self._waited = waited
        self._is_done = False

    def tell_end(self, run: Run) -> None:
        """Tell all of them, if the task has settled and that is stored."""
        if self._is_done or not (run.begun and run.settled and run.feed.error is None):
            return
        self._is_done = True
        for listener in self._listeners:
            try:
                tell = listener.wait_ended if self._waited else listener.turn_ended
                tell(run.caller, run.task())
            except Exception:
                # The task has ended, whatever others make of it.
                logger.exception("What happened in task %s is not told", run.task_id)
