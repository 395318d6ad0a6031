"""Quotas whose period is over are renewed, once, by whichever process comes by."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from agent.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from a2a_state.quotas import Balances
    from agent.quotas.limiter import Limiter

logger = logging.getLogger(__name__)

BATCH = 200
"""How many balances one transaction renews."""


class Renewal:
    """Looks for quotas to renew, again and again."""

    def __init__(
        self, balances: Balances, limiters: Sequence[Limiter], clock: Callable[[], int]
    ) -> None:
        """``clock`` tells the time in ms since the epoch."""
        self._balances = balances
        self._limiters = limiters
        self._clock = clock

    async def sweep(self) -> int:
        """Renew all that is due now; returns how many balances that were."""
        at = self._clock()
        renewed = 0
        for limiter in self._limiters:
            await self._take_over(limiter, at)
            renewed += await self._renew(limiter, at)
        return renewed

    async def _take_over(self, limiter: Limiter, at: int) -> None:
        """Give balances that were made under another setting the period of this one."""
        name, period = limiter.name, limiter.period_text
        while others := await self._balances.of_other_periods(name, period, BATCH):
            await self._balances.renew([limiter.taken_over(balance, at) for balance in others])
            if len(others) < BATCH:
                break

    async def _renew(self, limiter: Limiter, at: int) -> int:
        renewed = 0
        while due := await self._balances.due(limiter.name, limiter.period_text, at, BATCH):
            renewed += await self._balances.renew([limiter.renewed(one, at) for one in due])
            if len(due) < BATCH:
                break
        return renewed


async def repeat(work: Callable[[], Awaitable[object]], seconds: float) -> None:
    """Do it for ever, with a pause after each time; a database that is away is told of once."""
    is_away = False
    while True:
        try:
            await work()
        except StateError:
            if not is_away:
                logger.warning("The quotas cannot be looked after", exc_info=True)
            is_away = True
        except Exception:
            # Nobody else renews quotas: whatever is wrong, the next round comes.
            logger.exception("A round of renewing quotas broke")
        else:
            is_away = False
        await asyncio.sleep(seconds)
