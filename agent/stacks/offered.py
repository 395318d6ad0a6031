"""All that a Llama Stack offers, which a turn has where neither its message nor the settings choose.

As in LCS every vector store is searched then, and every shield checks what the user says.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

import msgspec

from agent.errors import InvalidAgentResponse, StackError, StackTimeout, StackUnavailable
from agent.stacks import solr

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from agent.settings import Settings
    from agent.stacks.turn import Json, TurnOptions

SECONDS = 30.0
"""How long what the server offers is believed."""

type Names = tuple[str, ...]


class Offered(msgspec.Struct, frozen=True):
    """The vector stores that are searched, and the shields that check what the user says."""

    stores: Names = ()
    shields: Names = ()


NOTHING = Offered()


class Catalogue(Protocol):
    """What lists stores and shields; of a server without them nothing."""

    async def shields(self) -> Sequence[Json]:
        """See ``Stack``."""

    async def vector_stores(self) -> Sequence[Json]:
        """See ``Stack``."""


class Offer:
    """Asks a server what it offers: only for what the settings leave open, and only now and then.

    Raises ``StackUnavailable`` when the server cannot tell, for no turn may run without its shields.
    """

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        """Ask nothing yet."""
        self._settings = settings
        self._catalogue = catalogue
        self._stores = Remembered(self._list_stores)
        self._shields = Remembered(self._list_shields)

    async def to_everybody(self) -> Offered:
        """Return what a turn has whose message chooses nothing."""
        agent = self._settings.agent
        stores = await self._stores.get() if agent.toolgroups is None else ()
        shields = await self._shields.get() if agent.input_shields is None else ()
        return Offered(stores, shields)

    async def to(self, options: TurnOptions) -> Offered:
        """Return what a turn has whose message chooses this."""
        agent = self._settings.agent
        chooses = options.vector_store_ids is not None or options.toolgroups is not None
        searches = not options.no_tools and not chooses
        stores = await self._stores.get() if searches and agent.toolgroups is None else ()
        is_checked = options.shields is None and agent.input_shields is None
        return Offered(stores, await self._shields.get() if is_checked else ())

    async def stores(self) -> Names:
        """Return all vector stores, for who asks for them without a choice."""
        return await self._stores.get()

    async def shields(self) -> Names:
        """Return all shields, for who is checked by them whatever they choose."""
        return await self._shields.get()

    def forget(self) -> None:
        """Ask anew for the next turn: one has failed, perhaps for what is not there any more."""
        self._stores.forget()
        self._shields.forget()

    async def _list_stores(self) -> Names:
        names = await _listed("vector stores", self._catalogue.vector_stores(), "id")
        searched_anyway = self._settings.solr is not None and self._settings.solr.enabled
        return tuple(name for name in names if not (searched_anyway and name == solr.STORE))

    async def _list_shields(self) -> Names:
        return await _listed("shields", self._catalogue.shields(), "identifier")


async def _listed(what: str, listing: Awaitable[Sequence[Json]], key: str) -> Names:
    """Return the names in a listing, in an order that stays the same."""
    try:
        names = [row.get(key) for row in await listing]
    except (StackUnavailable, StackTimeout, InvalidAgentResponse):
        raise
    except StackError as exc:
        raise StackUnavailable(f"Llama Stack does not tell which {what} it has.") from exc
    if not all(isinstance(name, str) and name for name in names):
        raise InvalidAgentResponse
    return tuple(sorted(set(names)))


class Remembered[T]:
    """An answer for all who ask at the same time and soon after; a failure is for those who wait."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[T]],
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """What ``ask`` returns is told for so many ``seconds``."""
        self._ask = ask
        self._seconds = seconds
        self._clock = clock
        self._asked_at = 0.0
        self._asking: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return the answer, or raise what ``ask`` raises."""
        asking = self._asking
        if asking is None or (asking.done() and self._is_over(asking)):
            self._asked_at = self._clock()
            asking = self._asking = asyncio.create_task(self._answer())
        # Who goes away does not take the answer from the others.
        return await asyncio.shield(asking)

    def forget(self) -> None:
        """Ask again the next time, unless somebody is asking just now."""
        if self._asking is not None and self._asking.done():
            self._asking = None

    def _is_over(self, asked: asyncio.Task[T]) -> bool:
        failed = asked.cancelled() or asked.exception() is not None
        return failed or self._clock() - self._asked_at >= self._seconds

    async def _answer(self) -> T:
        return await self._ask()
