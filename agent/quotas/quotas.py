"""The quotas of this server: asked before a turn, and told afterwards what it has spent."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from a2a_state.migrate import migrate
from a2a_state.quotas import Balances, TokenUsage
from agent.clock import now
from agent.errors import QuotaExceeded, StateError, StateUnavailable
from agent.metering import estimate
from agent.quotas.charge import Charge
from agent.quotas.limiter import Limiter
from agent.quotas.renewal import Renewal, repeat
from agent.quotas.reserves import Reserve, Reserves

if TYPE_CHECKING:
    from collections.abc import Callable

    from a2a_state.database import Database
    from agent.settings import Settings
    from agent.settings.quotas import QuotaScheduler
    from agent.stacks import TurnRequest, Usage

logger = logging.getLogger(__name__)

UNREACHABLE = "The quota database cannot be reached; tried {} times."
AWAY = "The quota database cannot be reached."

OUTPUT_TOKENS = 256
"""What an answer is taken to cost before there is one, unless ``agent.max_tokens`` is less."""


class _Spent(NamedTuple):
    """What is to be taken from a user's quotas."""

    user_id: str
    tokens: int
    usage: TokenUsage | None


class Quotas:
    """What users may still spend."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        own: bool = False,
        clock: Callable[[], int] = now,
    ) -> None:
        """``own`` says that the database is for quotas alone, and is opened and closed with them."""
        handlers = settings.quota_handlers
        self._limiters = [Limiter(limiter) for limiter in handlers.limiters]
        self._keeps_history = handlers.enable_token_history
        self._scheduler = handlers.scheduler
        self._default = _default_model(settings)
        self._output_tokens = min(settings.agent.max_tokens or OUTPUT_TOKENS, OUTPUT_TOKENS)
        self._reserves = Reserves()
        self._database = database
        self._own = own
        self._clock = clock
        self._balances = Balances(database)
        self._renewal = Renewal(self._balances, self._limiters, clock)
        # What could not be taken: the next round tries again.
        self._owed: list[_Spent] = []
        self._paying = asyncio.Lock()
        self._caring: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Reach the database, and start looking after quotas. Raises ``StateUnavailable``."""
        if self._own:
            await _reach(self._database, self._scheduler)
        self._caring = asyncio.create_task(
            repeat(self.sweep, self._scheduler.period), name="quotas"
        )

    async def close(self) -> None:
        """Stop, and take what is still owed if that is possible."""
        if self._caring is not None:
            self._caring.cancel()
            await asyncio.gather(self._caring, return_exceptions=True)
            with suppress(StateError):
                await self._pay()
            if self._owed:
                logger.error("Tokens of %d turns could not be counted", len(self._owed))
        if self._own:
            await self._database.close()

    async def admit(self, user_id: str, request: TurnRequest, held: int) -> Charge:
        """Return the bill of a turn that may begin; ``held`` is what its conversation holds, in tokens.

        What turns that run here may cost is held back; who is alone may begin while anything is left.
        Raises ``QuotaExceeded``, and ``StateUnavailable`` when it cannot be known.
        """
        if self._owed:
            await self._pay()
        reserves = [self._reserves.of(limiter.subject(user_id)) for limiter in self._limiters]
        # What ends from now on may be counted after the balance was read: it is still held back.
        before = [reserved.given_back for reserved in reserves]
        left = await self._left(user_id)
        for limiter, reserved, given_back in zip(self._limiters, reserves, before, strict=True):
            if left[limiter.name] <= 0:
                raise QuotaExceeded(limiter.refusal(user_id))
            if left[limiter.name] <= reserved.taken - given_back:
                raise QuotaExceeded(limiter.refusal(user_id, reserved=True))
        return self._charge(user_id, request, held, left)

    def charge(self, user_id: str, request: TurnRequest, held: int) -> Charge:
        """Return the bill of a turn that was admitted before, by a process that is no more."""
        return self._charge(user_id, request, held, None)

    def _charge(
        self, user_id: str, request: TurnRequest, held: int, left: dict[str, int] | None
    ) -> Charge:
        subjects = {limiter.subject(user_id) for limiter in self._limiters}
        tokens = max(estimate(request, held, self._output_tokens), 1)
        reserve = Reserve([self._reserves.of(subject) for subject in subjects], tokens)
        return Charge(self, user_id, reserve, left)

    async def available(self, user_id: str) -> dict[str, int]:
        """Return what a user may still spend, by limiter. Raises ``StateUnavailable``."""
        return {name: max(tokens, 0) for name, tokens in (await self._left(user_id)).items()}

    async def spend(
        self, user_id: str, usage: Usage, model: str | None = None
    ) -> dict[str, int] | None:
        """Take what was spent; returns what is left, below zero too.

        None says that the database cannot be reached: then it is taken as soon as it can.
        """
        tokens = usage.input_tokens + usage.output_tokens
        spent = _Spent(user_id, tokens, self._history(user_id, usage, model))
        try:
            return await self._take(spent)
        except StateUnavailable:
            logger.warning("Tokens will be counted later", exc_info=True)
            self._owed.append(spent)
        except StateError:
            logger.exception("Tokens of a turn cannot be counted")
        return None

    async def sweep(self) -> int:
        """Take what is owed, then renew what is due; returns how many balances were renewed."""
        await self._pay()
        return await self._renewal.sweep()

    async def _pay(self) -> None:
        """Take what is owed; who is canceled meanwhile leaves it taken and crossed out, or neither."""
        while self._owed:
            await asyncio.shield(asyncio.ensure_future(self._pay_first()))

    async def _pay_first(self) -> None:
        async with self._paying:
            if not self._owed:
                return
            try:
                await self._take(self._owed[0])
            except StateUnavailable:
                raise
            except StateError:
                logger.exception("Tokens of a turn cannot be counted")
            del self._owed[0]

    async def _take(self, spent: _Spent) -> dict[str, int]:
        at = self._clock()
        new = [limiter.begin(spent.user_id, at) for limiter in self._limiters]
        return await self._balances.spend(new, spent.tokens, spent.usage)

    async def _left(self, user_id: str) -> dict[str, int]:
        at = self._clock()
        try:
            return await self._balances.available(
                [limiter.begin(user_id, at) for limiter in self._limiters]
            )
        except StateUnavailable as exc:
            raise StateUnavailable(AWAY) from exc

    def _history(self, user_id: str, usage: Usage, model: str | None) -> TokenUsage | None:
        if not self._keeps_history:
            return None
        provider, name = self._default if model is None else ("", model)
        return TokenUsage(user_id, provider, name, usage.input_tokens, usage.output_tokens)


async def _reach(database: Database, scheduler: QuotaScheduler) -> None:
    """Open a database that may still be starting, as often as the settings say."""
    tries = scheduler.database_reconnection_count
    for number in range(1, tries + 1):
        try:
            await database.open()
            await migrate(database)
        except StateUnavailable as exc:
            await database.close()
            if number == tries:
                raise StateUnavailable(UNREACHABLE.format(tries)) from exc
            logger.warning("The quota database cannot be reached yet (%d of %d)", number, tries)
            await asyncio.sleep(scheduler.database_reconnection_delay)
        else:
            return


def _default_model(settings: Settings) -> tuple[str, str]:
    """Return the provider and the model of turns that name none, as far as settings tell."""
    inference = settings.inference
    if inference.default_model is not None:
        return inference.default_provider or "", inference.default_model
    if settings.is_embedded and settings.openai.model is not None:
        return "", settings.openai.model
    return "", ""
