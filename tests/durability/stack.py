"""The stacks of servers that are killed: what they answer follows from the message alone.

words:N:NAME        N pieces, ``NAME 0000 ``, ``NAME 0001 `` and so on, with a pause after each
ask:NAME            asks ``NAME?`` and waits for the next message
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, override

from agent.clock import now
from agent.stacks import (
    BaseStack,
    InputRequired,
    TextDelta,
    TextPart,
    TurnCompleted,
    TurnStarted,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from agent.settings import Settings
    from agent.stacks import TurnEvent, TurnRequest

PAUSE = "DURABILITY_PAUSE_MS"
"""Milliseconds after each piece."""

NOTES = "DURABILITY_NOTES"
"""The file in which each turn leaves a line when it begins (``began TEXT``) and ends (``ended TEXT``,
``closed TEXT`` when it was given up)."""

DONE = TurnCompleted("end_of_turn")


def pieces(text: str) -> list[str]:
    """Return what a message is answered with."""
    _, count, name = text.split(":")
    return [f"{name} {number:04d} " for number in range(int(count))]


class SlowStack(BaseStack):
    """Knows nothing of a turn that nobody listens to."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.pause_ms = int(os.environ.get(PAUSE, "0"))
        self._notes = os.environ.get(NOTES)

    @override
    async def turn(self, request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        text = "".join(part.text for part in request.parts if isinstance(part, TextPart))
        self._note(f"began {text}")
        end = "closed"
        try:
            yield TurnStarted(f"{now()}:{text}")
            if text.startswith("ask:"):
                end = "ended"
                yield InputRequired(f"{text.removeprefix('ask:')}?")
                return
            for piece in pieces(text):
                yield TextDelta(piece)
                await asyncio.sleep(self.pause_ms / 1000)
            end = "ended"
            yield DONE
        finally:
            self._note(f"{end} {text}")

    def _note(self, line: str) -> None:
        if self._notes is not None:
            # One short write to the end of a file is whole, whichever process makes it.
            with Path(self._notes).open("a") as notes:
                notes.write(f"{line}\n")


class RememberingStack(SlowStack):
    """A turn goes on behind it whether anybody listens or not, and can be asked for when it is over."""

    @override
    async def outcome(self, conversation_id: str, turn_id: str) -> TurnCompleted | None:
        began, _, text = turn_id.partition(":")
        said = pieces(text)
        over = now() >= int(began) + len(said) * self.pause_ms
        return TurnCompleted("end_of_turn", text="".join(said)) if over else None
