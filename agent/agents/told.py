"""The log of a task -> the steps of a turn of a stack that keeps none. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import stacks
from agent.agents.asked import calls_in, question_of
from agent.agents.step_builder import StepBuilder
from agent.answers import answers
from agent.conversation_turns import shown
from agent.model import ArtifactUpdate, Role, StatusUpdate, Task, TaskState
from agent.translation import ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.model import Event, Message

_STEPS = {"started": stacks.StepStarted, "ended": stacks.StepEnded}


class ToldSteps:
    """Hears the events of a task again: ``builder`` has the steps."""

    def __init__(self, task_id: str) -> None:
        """Nothing is told yet."""
        self.builder = StepBuilder(task_id)
        self._question: Message | None = None
        self._asked: Task | None = None
        self._texts: dict[str, str] = {}
        self._earlier: set[str] = set()
        self._at = ""

    def hear(self, events: Iterable[Event]) -> None:
        """Take note of the next events."""
        for event in events:
            at = event.status.timestamp if isinstance(event, Task | StatusUpdate) else None
            for said in self._said(event):
                for _ in self.builder.hear(said, at or self._at):
                    pass
            self._at = at or self._at

    def _said(self, event: Event) -> Iterator[stacks.TurnEvent]:
        """Give what the stack had said."""
        match event:
            case Task():
                self._begin(event)
            case ArtifactUpdate():
                yield from self._artifact(event)
            case StatusUpdate():
                yield from self._status(event)

    def _begin(self, task: Task) -> None:
        """A turn begins, or is resumed: the log says the whole task then."""
        self._earlier = {artifact.artifact_id for artifact in task.artifacts}
        self._texts.clear()
        if self._asked is not None:
            said = next((m for m in reversed(task.history) if m.role is Role.USER), None)
            given = answers(self._asked.status.message, said) if said is not None else ()
            results = {answer.call_id: answer.content for answer in given if answer.approve is None}
            self.builder.resume(calls_in(question_of(self._asked)), results, self._at)
            self._asked = None

    def _artifact(self, update: ArtifactUpdate) -> Iterator[stacks.TurnEvent]:
        artifact_id = update.artifact.artifact_id
        is_answer = artifact_id == ANSWER or artifact_id.startswith(f"{ANSWER}-")
        if not is_answer or artifact_id in self._earlier:
            return
        parts = update.artifact.parts
        text = "".join(shown([part]) if part.text is None else part.text for part in parts)
        told = self._texts.get(artifact_id, "")
        corrects = bool(told) and not update.append
        self._texts[artifact_id] = text if corrects else told + text
        if not corrects and text:
            yield stacks.TextDelta(text)

    def _status(self, update: StatusUpdate) -> Iterator[stacks.TurnEvent]:
        metadata = update.metadata or {}
        if "recovery" in metadata:
            self.builder.begin_again()
            self._texts.clear()
        step = metadata.get("step")
        if isinstance(step, dict) and step.get("state") in _STEPS:
            kind = _STEPS[step["state"]]
            yield kind(str(step.get("kind")), str(step.get("name", "")), step.get("detail"))
        message = update.status.message
        match update.status.state:
            case TaskState.COMPLETED:
                text = "".join(self._texts.values()) or self._last_word(update)
                yield stacks.TurnCompleted(metadata.get("stop_reason", "end_of_turn"), text)
            case TaskState.INPUT_REQUIRED:
                self._asked = Task(update.task_id, update.context_id, update.status)
                yield stacks.InputRequired("", question_of(self._asked))
            case TaskState.REJECTED:
                yield stacks.Rejected("" if message is None else shown(message.parts))

    def _last_word(self, update: StatusUpdate) -> str | None:
        """Return what a stack said that answered with a message."""
        message = update.status.message
        cut_off = (update.metadata or {}).get("stop_reason") == "out_of_tokens"
        return None if message is None or cut_off else shown(message.parts)
