"""What agents send, on the terminal: text to standard output, everything about it to standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from agent.cli import exits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from a2a.types import Artifact, Message, Part, StreamResponse, Task, TaskState, TaskStatus

_ENDED = frozenset({"COMPLETED", "FAILED", "CANCELED", "REJECTED"})
_WAITING = frozenset({"INPUT_REQUIRED", "AUTH_REQUIRED"})


class Printer:
    """Shows one task or message as it grows; what was shown already is not shown again.

    ``state`` is that of the task without its prefix, as in COMPLETED; empty for a message. ``shown``
    counts the events.
    """

    def __init__(self, as_json: bool) -> None:
        """``as_json`` prints each event as a line of JSON instead."""
        self._as_json = as_json
        self._ids = ""
        self._texts: dict[str, str] = {}
        self._attached: dict[str, int] = {}
        self._heard: set[str] = set()
        self.state = ""
        self.shown = 0

    @property
    def is_settled(self) -> bool:
        """Whether no more is to come before somebody answers the task."""
        return self.state in _ENDED | _WAITING

    def show(self, event: StreamResponse) -> None:
        """Print what the event says that is new."""
        from google.protobuf.json_format import MessageToJson

        self.shown += 1
        if self._as_json:
            click.echo(MessageToJson(event, indent=None))
        match event.WhichOneof("payload"):
            case "task":
                self._task(event.task)
            case "message":
                self._ids = f"context {event.message.context_id}"
                self._message(event.message)
            case "artifact_update":
                update = event.artifact_update
                self._artifact(update.artifact, append=update.append)
            case "status_update":
                self._status(event.status_update.status)

    def end(self) -> None:
        """Say what became of it."""
        if not self._as_json:
            click.echo()
            click.echo(
                f"[{self.state.lower().replace('_', '-') or 'message'}] {self._ids}", err=True
            )

    def exit_unless_completed(self) -> None:
        """Exit with an error, unless the agent has answered or asks something."""
        if self.state not in {"", "COMPLETED", "INPUT_REQUIRED"}:
            sys.exit(exits.NOT_COMPLETED)

    def _task(self, task: Task) -> None:
        self._ids = f"task {task.id}  context {task.context_id}"
        for artifact in task.artifacts:
            self._artifact(artifact, append=False)
        self._status(task.status)

    def _status(self, status: TaskStatus) -> None:
        self.state = state_name(status.state)
        self._message(status.message)

    def _message(self, message: Message) -> None:
        if message.message_id in self._heard:
            return
        if message.message_id:
            self._heard.add(message.message_id)
        self._print(_text(message.parts))
        self._print_others(_others(message.parts))

    def _artifact(self, artifact: Artifact, *, append: bool) -> None:
        """Print a piece, or what a whole artifact has beyond the pieces that were printed."""
        key, text, others = artifact.artifact_id, _text(artifact.parts), _others(artifact.parts)
        known, count = self._texts.get(key, ""), self._attached.get(key, 0)
        if append:
            self._texts[key], self._attached[key] = known + text, count + len(others)
        else:
            self._texts[key], self._attached[key] = text, len(others)
            if text.startswith(known):
                text, others = text[len(known) :], others[count:]
            else:
                self._print("\n")
        self._print(text)
        self._print_others(others)

    def _print(self, text: str) -> None:
        if text and not self._as_json:
            click.echo(text, nl=False)

    def _print_others(self, parts: Iterable[Part]) -> None:
        if self._as_json:
            return
        for part in parts:
            if part.WhichOneof("content") == "data":
                click.echo(f"\n{_data(part)}", err=True)
            else:
                click.echo(f"\n[file {part.filename or part.url or part.media_type}]", err=True)


def state_name(state: TaskState) -> str:
    """Return the name of a state without its prefix."""
    from a2a.types import TaskState

    return TaskState.Name(state).removeprefix("TASK_STATE_")


def _text(parts: Iterable[Part]) -> str:
    return "".join(part.text for part in parts if part.WhichOneof("content") == "text")


def _others(parts: Iterable[Part]) -> list[Part]:
    return [part for part in parts if part.WhichOneof("content") != "text"]


def _data(part: Part) -> str:
    from google.protobuf.json_format import MessageToJson

    return str(MessageToJson(part.data, indent=2, ensure_ascii=False))
