"""What is told with an answer beside its text: where it is from, and what is left of the quotas."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from agent.errors import StackError, StateError
from rest_compat.lightspeed.references import Sources

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.caller import Caller
    from rest_compat.lightspeed.backend import Backend
    from rest_compat.lightspeed.heard_turn import HeardTurn

logger = logging.getLogger(__name__)


class AnswerFacts:
    """Finds them out when the turn is over; what cannot be known is left out."""

    def __init__(self, backend: Backend) -> None:
        """Keep what is asked."""
        self._settings = backend.settings
        self._stack = backend.stack
        self._quotas = backend.quotas

    async def quotas(self, caller: Caller) -> dict[str, int]:
        """Return what the caller may still spend, by limiter."""
        if self._quotas is None:
            return {}
        try:
            return await self._quotas.available(caller.user_id)
        except StateError as exc:
            logger.warning("What is left of quotas is not told: %s", exc)
            return {}

    async def sources(self, heard: HeardTurn, asked: Sequence[str] | None) -> Sources:
        """Return where citations are from; ``asked`` are the stores that the query names.

        As with LCS the store is known where only one can be meant.
        """
        if not heard.citations:
            return Sources()
        stores = list(asked or self._named())
        if not stores:
            stores = await self._stores()
        names = {self._settings.rag_id(self._settings.vector_store_id(store)) for store in stores}
        return Sources(names.pop() if len(names) == 1 else None, heard.attached)

    def _named(self) -> list[str]:
        """Return the stores of the settings, which are those of a Llama Stack."""
        return (
            [] if self._settings.is_embedded else [each.rag_id for each in self._settings.byok_rag]
        )

    async def _stores(self) -> list[str]:
        try:
            return [str(store["id"]) for store in await self._stack.vector_stores()]
        except StackError as exc:
            logger.warning("Where citations are from is not told: %s", exc)
        except Exception:
            # A stack may be anybody's, and there is an answer already.
            logger.exception("Where citations are from is not told")
        return []
