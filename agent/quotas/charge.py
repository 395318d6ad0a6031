"""What one turn costs: taken from the quotas before anybody hears how the turn ended."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from agent.metering import Meter
from agent.model import SETTLED, Message, StatusUpdate
from agent.stacks import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.model import Event
    from agent.quotas.quotas import Quotas
    from agent.quotas.reserves import Reserve
    from agent.stacks import TurnEvent, TurnRequest

logger = logging.getLogger(__name__)

AVAILABLE = "available_quotas"


class Charge:
    """The bill of one turn; ``meter`` is told what happens in it."""

    def __init__(
        self, quotas: Quotas, user_id: str, reserve: Reserve, left: Mapping[str, int] | None
    ) -> None:
        """``left`` is what the user has, by limiter, as far as it is known; ``reserve`` is for this turn."""
        self.meter = Meter()
        self._quotas = quotas
        self._user_id = user_id
        self._reserve = reserve
        self._left = left
        self._model: str | None = None
        self._taken = Usage(0, 0)
        self._lock = asyncio.Lock()
        self._settling: set[asyncio.Task[None]] = set()

    def begin(self, request: TurnRequest, held: int) -> Callable[[TurnEvent], None]:
        """Note that the turn is handed to the stack; returns what is to hear its events.

        ``held`` is what the conversation holds already, in tokens.
        """
        self._model = request.model
        self.meter.sent(request, held)
        self._hold_back()
        return self._hear

    async def settle(self) -> None:
        """Take what the turn has spent since this was last called; what has begun is not given up.

        Nothing is held back any more for what the turn has not spent.
        """
        settling = asyncio.create_task(self._settle())
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)
        await asyncio.shield(settling)

    def give_back(self) -> None:
        """Hold nothing back for a turn that does not begin."""
        self._reserve.give_back()

    def on(self, event: Event) -> Event:
        """Return an event; one that settles the task, or a message instead of it, tells what is left."""
        settles = isinstance(event, StatusUpdate) and event.status.state in SETTLED
        if not (settles or isinstance(event, Message)) or not self._left:
            return event
        left = {name: max(tokens, 0) for name, tokens in self._left.items()}
        return msgspec.structs.replace(event, metadata={**(event.metadata or {}), AVAILABLE: left})

    def _hear(self, event: TurnEvent) -> None:
        self.meter.hear(event)
        self._hold_back()

    def _hold_back(self) -> None:
        """Hold back what was spent and is not taken yet, when that is more than was expected."""
        more = self._more()
        self._reserve.at_least(more.input_tokens + more.output_tokens)

    def _more(self) -> Usage:
        """Return what was spent and is not taken yet."""
        spent, taken = self.meter.spent, self._taken
        return Usage(
            spent.input_tokens - taken.input_tokens, spent.output_tokens - taken.output_tokens
        )

    async def _settle(self) -> None:
        async with self._lock:
            more = self._more()
            try:
                if more != Usage(0, 0):
                    self._taken = self.meter.spent
                    self._left = await self._quotas.spend(self._user_id, more, self._model)
            except Exception:
                # Who waited for it may be gone: nobody else would tell.
                logger.exception("What a turn has spent cannot be taken")
                raise
            finally:
                # Afterwards: in between it would be nowhere.
                self._reserve.give_back()
