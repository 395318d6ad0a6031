"""How many tokens one turn has spent, as told by its stack or, where that tells nothing, estimated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.foreign import check
from agent.stacks import (
    ArtifactPart,
    DataPart,
    DirectMessage,
    FilePart,
    InputRequired,
    StepEnded,
    StepStarted,
    TextDelta,
    TextPart,
    TurnCompleted,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.stacks import Part, TurnEvent, TurnRequest

CHARACTERS = 4
"""Characters of one token, as far as an estimate knows."""

FILE_TOKENS = 1000
"""What an image counts in an estimate, or another file that is no text or is elsewhere."""

# More than a turn can spend: what a stack reports beyond is a fault of its.
MOST_TOKENS = 10**12
_TEXTS = ("text/", "application/json", "application/yaml")


class Meter:
    """Counts one turn. What a stack reports covers all that was said before it."""

    def __init__(self) -> None:
        """Nothing is spent."""
        self._reported = Usage(0, 0)
        self.held_before = 0
        """What the conversation held before the turn, in tokens."""
        # What it holds by now, in characters.
        self._held = 0
        # Since the last report, in characters: what was read, what is to be read, and what came out.
        self._read = self._unread = self._came_out = 0
        self._has_report = self._has_text = self._completed = self._heard = False

    def sent(self, request: TurnRequest, held: int = 0) -> None:
        """Note what goes into the turn: all that the conversation holds, ``held`` tokens, is read again."""
        self.held_before = held
        self._take(held * CHARACTERS + _said(request))

    def refused(self) -> None:
        """Note that the stack did not take the message: unless anything was heard, nothing is spent."""
        if not self._heard:
            self._unread = 0
            self._held = self.held_before * CHARACTERS

    def hear(self, event: TurnEvent) -> None:
        """Check an event, and count it. Raises ``InvalidAgentResponse``."""
        check(event)
        self._heard = True
        match event:
            case TextDelta(text):
                self._has_text = True
                self._give(len(text))
            case Usage():
                self._report(event)
            case ArtifactPart(parts) | DirectMessage(parts):
                self._give(_size(parts))
            case StepStarted("inference"):
                # Each call of the model reads the conversation from its beginning.
                self._read, self._unread = self._read + self._held, 0
            case StepStarted("tool_execution", _, detail) | InputRequired(_, detail):
                self._give(_written(detail))
            case StepEnded("tool_execution", _, detail):
                self._take(_written(detail))
            case TurnCompleted(_, text):
                self._completed = True
                self._give(0 if self._has_text else len(text or ""))

    @property
    def spent(self) -> Usage:
        """What the turn has spent so far: what was reported, and an estimate of what came after it.

        A report of a turn that was completed is about all of it.
        """
        if self._has_report and self._completed:
            return self._reported
        return Usage(
            self._reported.input_tokens + _tokens(self._read + self._unread),
            self._reported.output_tokens + _tokens(self._came_out),
        )

    @property
    def held(self) -> int:
        """What the conversation holds by now, in tokens: as the last report says, and what came after it."""
        return _tokens(self._held)

    def _take(self, characters: int) -> None:
        self._unread += characters
        self._held += characters

    def _give(self, characters: int) -> None:
        self._came_out += characters
        self._held += characters

    def _report(self, usage: Usage) -> None:
        self._has_report = True
        self._read = self._unread = self._came_out = 0
        went_in, came_out = _bounded(usage.input_tokens), _bounded(usage.output_tokens)
        self._held = (went_in + came_out) * CHARACTERS or self._held
        self._reported = Usage(
            self._reported.input_tokens + went_in, self._reported.output_tokens + came_out
        )


def estimate(request: TurnRequest, held: int, output_tokens: int) -> int:
    """Return what a turn may cost: it reads what the conversation holds and the message, and says so much."""
    return held + _tokens(_said(request)) + output_tokens


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS)


def _bounded(tokens: int) -> int:
    return min(max(tokens, 0), MOST_TOKENS)


def _said(request: TurnRequest) -> int:
    resumed = () if request.resume is None else request.resume.answers
    return _size(request.parts) + sum(len(answer.content) for answer in resumed)


def _size(parts: Iterable[Part]) -> int:
    return sum(_size_of(part) for part in parts)


def _size_of(part: Part) -> int:
    match part:
        case TextPart(text):
            return len(text)
        case DataPart(data):
            return _written(data)
        case FilePart(_, media_type, bytes() as data) if media_type.startswith(_TEXTS):
            return len(data)
        case _:
            return FILE_TOKENS * CHARACTERS


def _written(value: object) -> int:
    return 0 if value is None else len(msgspec.json.encode(value))
