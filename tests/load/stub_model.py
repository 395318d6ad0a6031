"""The embedded stack with a model in the same process that answers at once: what the rest of a turn costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

from a2a_state.migrate import migrate
from agent.databases import make_database
from agent.stacks import Health, Model, TextDelta, Usage
from agent.stacks.embedded import EmbeddedStack
from agent.stacks.embedded.model import Stop
from agent.stacks.embedded.models import Chosen, Models
from tests.load.model import NAME, PIECES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from agent.settings import Settings
    from agent.stacks.embedded.messages import UserMessage
    from agent.stacks.embedded.model import Piece, Prompt
    from agent.stacks.response_format import ResponseFormat


class StubModel:
    """Says the same three pieces to everything."""

    provider = "stub"

    async def infer(self, _prompt: Prompt) -> AsyncGenerator[Piece]:
        """Answer."""
        for piece in PIECES:
            yield TextDelta(piece)
        yield Usage(10, 3)
        yield Stop("end_of_turn")

    def check(self, _message: UserMessage, _wanted: ResponseFormat | None) -> None:
        """Take everything."""

    def wants_tools(self, _message: UserMessage) -> bool:
        """Want what a language model wants."""
        return True

    async def resolve(self, name: str) -> str:
        """Have any name."""
        return name or NAME

    async def catalogue(self) -> Sequence[Model]:
        """Name the one model."""
        return [Model(f"stub/{NAME}", "stub")]

    async def health(self) -> Health:
        """Be well."""
        return Health(ok=True)

    async def close(self) -> None:
        """Give nothing back."""


class StubModels(Models):
    """Has that model for every name."""

    @override
    async def choose(self, name: str | None) -> Chosen:
        """Choose it."""
        return Chosen(StubModel(), NAME)


class StubbedStack(EmbeddedStack):
    """Keeps its turns in the same database file as the server, by a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing."""
        self._own = make_database(settings)
        super().__init__(settings, self._own)
        self._models = StubModels(settings, self._knowledge)

    @override
    async def open(self) -> None:
        """Open the database, too."""
        await self._own.open()
        await migrate(self._own)
        await super().open()

    @override
    async def close(self) -> None:
        """Close the database, too."""
        await super().close()
        await self._own.close()
