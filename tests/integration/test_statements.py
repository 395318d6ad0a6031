"""How many SQL statements an answer costs: tens, however many pieces it comes in."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from anyio import Event
from sqlalchemy import Engine, event

from agent.stacks import TextDelta, TurnCompleted
from tests.conformance.client import in_process, on_socket
from tests.conformance.wire_1_0 import V1_0
from tests.fakes.scripted_stack import Script

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

    from agent.stacks import TurnEvent, TurnRequest

pytestmark = pytest.mark.anyio

DELTAS = 1_000
WORDS = 200


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the statements that reach a database, by their first word; beginning is no work."""
    statements: Counter[str] = Counter()

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            statements[statement.split(maxsplit=1)[0]] += 1

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", count)


class Listener:
    """Lets each delta wait until the client has heard the last one."""

    def __init__(self) -> None:
        self._heard = Event()

    def heard(self) -> None:
        """Go on."""
        self._heard.set()

    async def turn(self, _request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        """Say the numbers."""
        for number in range(WORDS):
            self._heard = Event()
            yield TextDelta(f"{number} ")
            await self._heard.wait()
        yield TurnCompleted("end_of_turn")


async def test_an_answer_that_comes_at_once_costs_tens_of_statements(tmp_path: Path) -> None:
    deltas = [TextDelta(f"{number} ") for number in range(DELTAS)]
    script = Script([*deltas, TurnCompleted("end_of_turn")])
    state = {"sqlite": {"db_path": tmp_path / "state.db"}}
    async with in_process(script, V1_0, a2a_state=state) as client:
        with counted() as statements:
            events = await client.streamed("hi")
        assert len(events) == DELTAS + 4
        assert statements.total() <= 60, statements


async def test_an_answer_that_is_heard_word_by_word_costs_tens_of_statements(
    tmp_path: Path,
) -> None:
    listener = Listener()
    state = {"sqlite": {"db_path": tmp_path / "state.db"}}
    async with on_socket(Script(listener.turn), V1_0, a2a_state=state) as client:
        with counted() as statements:
            async with client.streaming("hi") as events:
                seen = []
                async for one in events:
                    seen.append(one)
                    listener.heard()
        assert len(seen) == WORDS + 4
        assert statements.total() <= 60, statements
        task = (await client.get(seen[0].result["task"]["id"])).task
        text = "".join(f"{number} " for number in range(WORDS))
        assert task["artifacts"] == [{"artifactId": "answer", "parts": [{"text": text}]}]


async def test_a_message_costs_a_handful_of_statements(tmp_path: Path) -> None:
    script = Script([TextDelta("yes"), TurnCompleted("end_of_turn")])
    state = {"sqlite": {"db_path": tmp_path / "state.db"}}
    async with in_process(script, V1_0, a2a_state=state) as client:
        await client.send("warm up")
        with counted() as statements:
            await client.send("hi")
        assert statements.total() <= 10, statements
