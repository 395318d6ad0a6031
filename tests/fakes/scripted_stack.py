"""A stack that does what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio

from agent.stacks import BaseStack, TextDelta, TurnCompleted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.settings import Settings
    from agent.stacks import Owner, TurnEvent, TurnRequest

type Turn = Sequence[Any] | Callable[[TurnRequest], AsyncGenerator[TurnEvent]]
"""Events to yield, or what a bad stack would; exceptions to raise; ``anyio.Event`` to wait for."""

STACK = "tests.fakes.scripted_stack:ScriptedStack"
DONE = TurnCompleted("end_of_turn")
ANSWER: Turn = [TextDelta("yes"), DONE]


class Script:
    """One turn for each message, in order; the last is repeated.

    It outlives the application, so that a test may start a second one on it. ``starting`` is raised
    or waited for before a conversation starts, ``forgetting`` raised when one is to be forgotten.
    """

    def __init__(
        self,
        *turns: Turn,
        starting: Exception | anyio.Event | None = None,
        forgetting: Exception | None = None,
    ) -> None:
        self.turns = turns
        self.starting = starting
        self.forgetting = forgetting
        self.forgotten: list[str] = []
        self.requests: list[TurnRequest] = []
        self.owners: list[Owner] = []
        self.closed_turns = 0

    def next_turn(self, request: TurnRequest) -> Turn:
        """Note the request and return what to do."""
        self.requests.append(request)
        return self.turns[min(len(self.requests), len(self.turns)) - 1]


_scripts: dict[str, Script] = {}
_numbers = count(1)


@contextmanager
def scripted(script: Script) -> Iterator[str]:
    """Yield the ``name`` for the settings of an application that is to run ``script``.

    A stack is made from settings alone, so this is how a test's own objects reach it.
    """
    name = f"script-{next(_numbers)}"
    _scripts[name] = script
    try:
        yield name
    finally:
        del _scripts[name]


class ScriptedStack(BaseStack):
    """Runs the script that the name in the settings stands for."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.script = _scripts[settings.name]

    async def start_conversation(self, owner: Owner) -> str:
        """Return conversation-1, then conversation-2 and so on."""
        starting = self.script.starting
        if isinstance(starting, Exception):
            raise starting
        self.script.owners.append(owner)
        number = len(self.script.owners)
        if starting is not None:
            await starting.wait()
        return f"conversation-{number}"

    async def delete_conversation(self, conversation_id: str) -> None:
        """Remember that it was asked for."""
        self.script.forgotten.append(conversation_id)
        if self.script.forgetting is not None:
            raise self.script.forgetting

    async def turn(self, request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        """Do the next turn of the script."""
        try:
            turn = self.script.next_turn(request)
            if callable(turn):
                async with aclosing(turn(request)) as events:
                    async for event in events:
                        yield event
                return
            for step in turn:
                if isinstance(step, anyio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        finally:
            self.script.closed_turns += 1
