"""What of a task's events is sent to webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.model import SETTLED, TERMINAL, ArtifactUpdate, StatusUpdate, Task
from agent.task_builder import TaskBuilder

if TYPE_CHECKING:
    from agent.model import Event


class News:
    """Reads a task's log from its start, and tells of each event what is sent for it."""

    def __init__(self) -> None:
        """Know nothing yet: the first event of every log is the task."""
        self._builder: TaskBuilder | None = None
        self._unfinished: set[str] = set()

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._builder is not None and self._builder.status.state in TERMINAL

    def task(self) -> Task:
        """Return the task as of the last event."""
        if self._builder is None:
            raise LookupError("nothing was read yet")
        return self._builder.task()

    def apply(self, event: Event) -> Event | None:
        """Return what is sent for the next event of the log.

        Steps of a turn are not sent, nor are pieces of an artifact: it is sent whole, with its last piece.
        """
        if isinstance(event, Task):
            self._builder = TaskBuilder(event)
            self._unfinished.clear()
            return event
        if self._builder is None:
            return None
        before = self._builder.status.state
        self._builder.apply(event)
        if isinstance(event, StatusUpdate):
            changed = event.status.state is not before or event.status.message is not None
            return self._status(event) if changed else None
        return self._artifact(event) if isinstance(event, ArtifactUpdate) else None

    def _status(self, event: StatusUpdate) -> Event:
        if event.status.state in SETTLED and self._unfinished:
            # The turn broke off in the middle of an artifact: the task has what there is of it.
            self._unfinished.clear()
            return self.task()
        return event

    def _artifact(self, event: ArtifactUpdate) -> Event | None:
        artifact_id = event.artifact.artifact_id
        if not event.last_chunk:
            self._unfinished.add(artifact_id)
            return None
        self._unfinished.discard(artifact_id)
        (whole,) = (each for each in self.task().artifacts if each.artifact_id == artifact_id)
        return ArtifactUpdate(
            event.task_id, event.context_id, whole, last_chunk=True, metadata=event.metadata
        )
