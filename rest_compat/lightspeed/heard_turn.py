"""The events of a task -> what LCS tells of an answer. No I/O."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from agent.conversation_turns import shown
from agent.model import (
    INTERRUPTED,
    SETTLED,
    ArtifactUpdate,
    Message,
    StatusUpdate,
    Task,
    TaskState,
)
from agent.stacks import Citation
from rest_compat.lightspeed.failures import CANCELED, failure_of, not_processed
from rest_compat.lightspeed.tool_steps import ToolSteps
from rest_compat.lightspeed.tool_summaries import ToolCallSummary, ToolResultSummary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.model import Event, Json, Part
    from rest_compat.problems import Problem

_ANSWER = re.compile(r"answer(-\d+)?")
_ANSWERED = INTERRUPTED | {TaskState.COMPLETED}
OUT_OF_TOKENS = "out_of_tokens"
_TOOLS = re.compile(r"tool_results(-\d+)?")
_CITATIONS = re.compile(r"citations(-\d+)?")


class Token(NamedTuple):
    """The next piece of the answer's text."""

    text: str


class Refusal(NamedTuple):
    """What a shield says instead of an answer."""

    text: str


type Piece = Token | Refusal | ToolCallSummary | ToolResultSummary


class HeardTurn:
    """One turn, as far as it was heard: ``hear`` its events in their order.

    ``context_id`` is known with the first of them, and so are the names of the files that were
    ``attached``. ``has_begun`` says that the stack has taken the
    message, ``refusal`` that it was rejected and why, ``problem`` that it failed, which is so too when it
    was ``canceled``, and ``cut_off`` that there is an answer, but not all of it.
    """

    def __init__(self, model: str | None = None) -> None:
        """``model`` is the one that was asked for."""
        self.context_id = ""
        self.attached: frozenset[str] = frozenset()
        self.has_begun = False
        self.canceled = False
        self.refusal: str | None = None
        self.problem: Problem | None = None
        self.cut_off: Problem | None = None
        self.tool_calls: list[ToolCallSummary] = []
        self.tool_results: list[ToolResultSummary] = []
        self.citations: list[Citation] = []
        self.input_tokens = self.output_tokens = 0
        self._model = model
        self._answer: list[str] = []
        self._others: dict[str, list[str]] = {}
        self._question = ""
        self._earlier: frozenset[str] = frozenset()
        self._steps = ToolSteps()

    @property
    def text(self) -> str:
        """The answer; that of a turn that waits for its caller ends with the question."""
        texts = ("".join(self._answer), self._question)
        return "\n\n".join(text for text in texts if text)

    def hear(self, event: Event) -> Iterator[Piece]:
        """Take note of an event, and give what LCS tells of it."""
        match event:
            case Task():
                self.context_id = event.context_id
                self._earlier = frozenset(each.artifact_id for each in event.artifacts)
                parts = [part for message in event.history for part in message.parts]
                self.attached = frozenset(part.filename for part in parts if part.filename)
            case ArtifactUpdate():
                self.has_begun = True
                yield from self._artifact(event)
            case StatusUpdate():
                yield from self._status(event)
            case Message():
                self.has_begun = True
                self.context_id = event.context_id or self.context_id
                yield from self._say(_text_of(event.parts))

    def _artifact(self, update: ArtifactUpdate) -> Iterator[Token]:
        artifact_id = update.artifact.artifact_id
        if artifact_id in self._earlier:
            return
        if _CITATIONS.fullmatch(artifact_id):
            self.citations = _citations(update.artifact.parts)
        elif _ANSWER.fullmatch(artifact_id):
            yield from self._told(update)
        elif not _TOOLS.fullmatch(artifact_id):
            kept = self._others.setdefault(artifact_id, [])
            if not update.append:
                kept.clear()
            kept.append(shown(update.artifact.parts))

    def _told(self, update: ArtifactUpdate) -> Iterator[Token]:
        text = "".join(part.text or "" for part in update.artifact.parts)
        if not update.append:
            corrects = update.last_chunk and any(self._answer)
            self._answer.clear()
            if corrects:
                # What was said cannot be unsaid: the end tells how it should have been.
                self._answer.append(text)
                return
        yield from self._say(text)

    def _say(self, text: str) -> Iterator[Token]:
        if text:
            self._answer.append(text)
            yield Token(text)

    def _status(self, update: StatusUpdate) -> Iterator[Piece]:
        metadata = update.metadata or {}
        state = update.status.state
        if "recovery" in metadata:
            self._begin_again()
        if state is TaskState.WORKING:
            self.has_begun = True
        if isinstance(step := metadata.get("step"), dict):
            yield from self._step(step)
        if isinstance(usage := metadata.get("usage"), dict):
            self.input_tokens = usage.get("input_tokens", 0)
            self.output_tokens = usage.get("output_tokens", 0)
        if state in SETTLED:
            yield from self._settle(update)

    def _step(self, step: Json) -> Iterator[Piece]:
        piece = self._steps.read(step)
        if isinstance(piece, ToolCallSummary):
            self.tool_calls.append(piece)
            yield piece
        elif piece is not None:
            self.tool_results.append(piece)
            yield piece

    def _begin_again(self) -> None:
        """Forget what the turn did before its process died: it is done again."""
        self._steps = ToolSteps()
        self.tool_calls.clear()
        self.tool_results.clear()

    def _settle(self, update: StatusUpdate) -> Iterator[Token | Refusal]:
        state, message = update.status.state, update.status.message
        if state in _ANSWERED and not any(self._answer):
            # As in a history: what else was made is the answer, if there is no other.
            yield from self._say("\n\n".join(filter(None, map("".join, self._others.values()))))
        said = _text_of(message.parts) if message is not None else ""
        if state in INTERRUPTED:
            self._question = said
            if said:
                yield Token(f"\n\n{said}" if any(self._answer) else said)
        elif state is TaskState.REJECTED:
            self.refusal = said
            yield Refusal(said)
        elif state is TaskState.FAILED:
            self.problem = failure_of(update.metadata, said, self._model)
        elif state is TaskState.CANCELED:
            self.canceled = True
            self.problem = not_processed(CANCELED)
        elif (update.metadata or {}).get("stop_reason") == OUT_OF_TOKENS:
            self.cut_off = not_processed(said)
        else:
            yield from self._say(f"\n\n{said}" if said and any(self._answer) else said)


def _text_of(parts: Iterable[Part]) -> str:
    return "\n\n".join(part.text for part in parts if part.text)


def _citations(parts: Iterable[Part]) -> list[Citation]:
    """Read the citations; a stack may call other things so, which are left out."""
    found: list[Citation] = []
    for part in parts:
        listed = part.data.get("citations") if isinstance(part.data, dict) else None
        # What JSON has no number for, as a score may be, is null.
        if not isinstance(listed, list):
            continue
        for each in msgspec.json.decode(msgspec.json.encode(listed)):
            with suppress(msgspec.ValidationError):
                found.append(msgspec.convert(each, Citation))
    return found
