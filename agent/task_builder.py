"""A task, built up from its events: live in ``run``, and again from what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.model import (
    Artifact,
    ArtifactUpdate,
    Event,
    Json,
    Message,
    Part,
    Role,
    StatusUpdate,
    Task,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

MODEL_CHARS = 256

# These keys of an update's metadata tell of that moment only.
_MOMENTARY = frozenset({"step"})


class TaskBuilder:
    """Applies events; ``task()`` is the task as of the last one."""

    def __init__(self, task: Task) -> None:
        """Start from a task, which is not changed."""
        self._task: Task | None = None
        self.id = task.id
        self.context_id = task.context_id
        self.status = task.status
        self.history = list(task.history)
        self.metadata: dict[str, Json] = dict(task.metadata or {})
        self._artifacts = {artifact.artifact_id: _Growing(artifact) for artifact in task.artifacts}

    def apply(self, event: Event) -> None:
        """Apply one event of the task."""
        self._task = None
        if isinstance(event, ArtifactUpdate):
            growing = self._artifacts.get(event.artifact.artifact_id)
            if event.append and growing is not None:
                growing.append(event.artifact.parts)
            else:
                self._artifacts[event.artifact.artifact_id] = _Growing(event.artifact)
        elif isinstance(event, StatusUpdate):
            if self.status.message is not None:
                # What the agent asked before it went on belongs to the conversation.
                self.history.append(self.status.message)
            self.status = event.status
            for name, value in (event.metadata or {}).items():
                if name not in _MOMENTARY:
                    self.metadata[name] = value
        elif isinstance(event, Message):
            self.history.append(event)

    @property
    def model(self) -> str | None:
        """Which model answered last, as provider/model, cut off where an index could not hold it."""
        model = self.metadata.get("model")
        return model[:MODEL_CHARS] if isinstance(model, str) else None

    @property
    def user_messages(self) -> int:
        """How many messages of users there are."""
        return sum(message.role is Role.USER for message in self.history)

    def task(self) -> Task:
        """Return the task as it stands."""
        if self._task is None:
            self._task = self._built()
        return self._task

    def _built(self) -> Task:
        return Task(
            id=self.id,
            context_id=self.context_id,
            status=self.status,
            artifacts=[growing.artifact() for growing in self._artifacts.values()],
            history=list(self.history),
            metadata=dict(self.metadata) or None,
        )


class _Growing:
    """An artifact that is appended to; consecutive plain text becomes one part."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._parts = list(artifact.parts)
        self._text: list[str] = []

    def append(self, parts: Iterable[Part]) -> None:
        for part in parts:
            if part.text is not None and part.metadata is None:
                self._text.append(part.text)
            else:
                self._flush()
                self._parts.append(part)

    def artifact(self) -> Artifact:
        self._flush()
        return msgspec.structs.replace(self._artifact, parts=list(self._parts))

    def _flush(self) -> None:
        if not self._text:
            return
        text = "".join(self._text)
        self._text.clear()
        last = self._parts[-1] if self._parts else None
        if last is not None and last.text is not None and last.metadata is None:
            self._parts[-1] = msgspec.structs.replace(last, text=last.text + text)
        elif text:
            self._parts.append(Part(text=text))
