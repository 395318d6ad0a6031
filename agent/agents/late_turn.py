"""A turn that begins when it is read: until then its client may go away, and it is not run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from agent.agents.base import Json


class LateTurn:
    """See ``TurnStream``; its chunks can be read once."""

    def __init__(self, chunks: AsyncGenerator[Json]) -> None:
        """Nothing has begun."""
        self._chunks = chunks

    def chunks(self) -> AsyncIterator[Json]:
        """See ``TurnStream``; what the turn cannot begin for is raised here, too."""
        return self._chunks

    async def aclose(self) -> None:
        """Read no more of it."""
        await self._chunks.aclose()
