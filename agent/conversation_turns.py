"""Tasks -> turns: what the user said, and what they saw as the answer. No I/O."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from agent.clock import milliseconds
from agent.model import (
    SETTLED,
    Artifact,
    Message,
    Part,
    Role,
    StatusUpdate,
    Task,
)
from agent.task_builder import TaskBuilder
from agent.translation import ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.model import Event

TOOL_RESULTS, CITATIONS = "tool_results", "citations"


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message of a user and what became of it; times are in ms since the epoch.

    ``answer`` is None where nothing was said. ``tools`` are the entries of the task's artifact
    ``tool_results``. ``model`` answered, as provider/model.
    """

    task_id: str
    started_at: int
    completed_at: int
    question: str
    answer: str | None = None
    tools: tuple[dict[str, Any], ...] = ()
    model: str | None = None

    @property
    def size(self) -> int:
        """About how many bytes it has as JSON."""
        tools = len(msgspec.json.encode(self.tools)) if self.tools else 0
        return len(self.question) + len(self.answer or "") + tools


class TurnLog:
    """Finds the turns of a task in its log, of which each begins with the task as it stood."""

    def __init__(self) -> None:
        """Nothing has been heard."""
        self._builder: TaskBuilder | None = None
        self._asked: Message | None = None
        self._started_at = 0

    def hear(self, event: Event) -> Turn | None:
        """Take the next event; returns the turn that it ends."""
        if isinstance(event, Task):
            self._begin(event)
        elif self._builder is not None:
            self._builder.apply(event)
            if isinstance(event, StatusUpdate) and event.status.state in SETTLED:
                return self._end()
        return None

    def _begin(self, task: Task) -> None:
        self._asked = _last_question(task)
        self._started_at = milliseconds(task.status.timestamp)
        # What comes from now on is of this turn.
        fresh = msgspec.structs.replace(task, artifacts=[], history=[], metadata=None)
        self._builder = TaskBuilder(fresh)

    def _end(self) -> Turn | None:
        asked, self._asked = self._asked, None
        if self._builder is None or asked is None:
            # What is canceled while it waits is told already.
            return None
        return _turn(self._builder.task(), asked, self._started_at)


def only_turn(task: Task, started_at: int) -> Turn | None:
    """Return the one turn of a task to which one message was sent; None as long as it runs."""
    asked = _last_question(task)
    if asked is None or task.status.state not in SETTLED:
        return None
    return _turn(task, asked, started_at)


def _turn(task: Task, asked: Message, started_at: int) -> Turn:
    status = task.status
    completed_at = milliseconds(status.timestamp)
    return Turn(
        task_id=task.id,
        started_at=started_at or completed_at,
        completed_at=completed_at,
        question=shown(asked.parts),
        answer=_answer(task),
        tools=tuple(_tools(task.artifacts)),
        model=(task.metadata or {}).get("model"),
    )


def _answer(task: Task) -> str | None:
    """Return the answer, and what the agent said at the end: a question, a refusal, what went wrong."""
    said = [shown(artifact.parts) for artifact in _answers(task.artifacts)]
    said += [_text_of(message.parts) for message in _last_words(task)]
    return "\n\n".join(text for text in said if text) or None


def _last_words(task: Task) -> list[Message]:
    """Return what the agent said behind the latest message; of a task that was canceled it is history."""
    words = [] if task.status.message is None else [task.status.message]
    for message in reversed(task.history):
        if message.role is Role.USER:
            break
        words.insert(0, message)
    return words


def _answers(artifacts: Iterable[Artifact]) -> list[Artifact]:
    """Return the answer; what else was made if there is none."""
    made = [one for one in artifacts if not _is(one, TOOL_RESULTS) and not _is(one, CITATIONS)]
    return [one for one in made if _is(one, ANSWER)] or made


def _tools(artifacts: Iterable[Artifact]) -> Iterator[dict[str, Any]]:
    for artifact in artifacts:
        if not _is(artifact, TOOL_RESULTS):
            continue
        for part in artifact.parts:
            entries = part.data.get(TOOL_RESULTS) if isinstance(part.data, dict) else None
            if isinstance(entries, list):
                yield from (entry for entry in entries if isinstance(entry, dict))


def _is(artifact: Artifact, name: str) -> bool:
    """Whether it is that artifact: later turns of a task number theirs."""
    return artifact.artifact_id == name or (
        artifact.artifact_id.startswith(f"{name}-")
        and artifact.artifact_id.removeprefix(f"{name}-").isdecimal()
    )


def shown(parts: Iterable[Part]) -> str:
    """Return what people see of parts: text as it is, and files as LCS shows attachments."""
    return "\n\n".join(text for part in parts if (text := _shown_part(part)))


def _text_of(parts: Iterable[Part]) -> str:
    return "\n\n".join(part.text for part in parts if part.text)


def _shown_part(part: Part) -> str:
    if part.text is not None:
        return part.text
    if part.data is not UNSET:
        return msgspec.json.encode(part.data).decode()
    kind = (part.metadata or {}).get("attachment_type") or part.filename or part.media_type
    name = f"[Attachment: {kind or 'file'}]"
    content = part.url if part.url is not None else _decoded(part.raw or "")
    return f"{name}\n{content}" if content else name


def _decoded(raw: str) -> str:
    """Return the text of a file; nothing of one that is none."""
    standard = raw.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        text = base64.b64decode(standard + "=" * (-len(standard) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""
    return "" if "\0" in text else text


def _last_question(task: Task) -> Message | None:
    return next((said for said in reversed(task.history) if said.role is Role.USER), None)
