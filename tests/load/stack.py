"""The stacks under load: their answers follow from the text of the message alone.

msg:TEXT            a message without a task: ``echo: msg:TEXT``
stream:N:TEXT       N chunks, ``echo: TEXT 0000``, ``echo: TEXT 0001``, …
pace:N:MS:TEXT      the same, MS milliseconds after each chunk
hold:MS:TEXT        one chunk, ``echo: TEXT``, and the end MS milliseconds later
any other TEXT      ``echo: TEXT``
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agent.stacks import BaseStack, DirectMessage, TextDelta, TextPart, TurnCompleted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agent.stacks import TurnEvent, TurnRequest


def chunks(text: str) -> Iterator[tuple[str, float]]:
    """Yield each chunk of the answer to ``text``, and the seconds to wait after it."""
    kind, *rest = text.split(":")
    match kind, rest:
        case "stream", [count, *words]:
            milliseconds = "0"
        case "pace", [count, milliseconds, *words]:
            pass
        case "hold", [milliseconds, *words]:
            yield f"echo: {':'.join(words)}", int(milliseconds) / 1000
            return
        case _:
            yield f"echo: {text}", 0
            return
    for number in range(int(count)):
        yield f"echo: {':'.join(words)} {number:04d}", int(milliseconds) / 1000


class BenchStack(BaseStack):
    """Answers at once, without a model."""

    async def turn(self, request: TurnRequest) -> AsyncIterator[TurnEvent]:
        """Answer by the table above."""
        text = "".join(part.text for part in request.parts if isinstance(part, TextPart))
        if text.startswith("msg:"):
            yield DirectMessage((TextPart(f"echo: {text}"),))
            return
        for chunk, seconds in chunks(text):
            yield TextDelta(chunk)
            await asyncio.sleep(seconds)
        yield TurnCompleted("end_of_turn")


class CountingStack(BenchStack):
    """Also answers ``statements`` with the number of SQL statements of this process so far."""

    statements = 0

    async def open(self) -> None:
        """Begin to count."""
        from sqlalchemy import Engine, event  # BenchStack knows no database

        event.listen(Engine, "before_cursor_execute", self._count)

    def _count(self, *_: Any) -> None:
        self.statements += 1

    async def turn(self, request: TurnRequest) -> AsyncIterator[TurnEvent]:
        """Answer by the table above, or with the count."""
        if request.parts == (TextPart("statements"),):
            yield DirectMessage((TextPart(str(self.statements)),))
            return
        async for event in super().turn(request):
            yield event
