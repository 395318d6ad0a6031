"""Single questions to a model, outside of any conversation: within the same limits as turns."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.admission import RETRY_AFTER_SECONDS, Admission
from agent.budget import Budget
from agent.errors import RequestError, StackTimeout, StackUnavailable, TooManyTasks
from agent.stacks import TextDelta, TurnCompleted, Usage
from agent.stacks.single_turn import request_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.quotas.quotas import Quotas
    from agent.settings.own import Limits
    from agent.stacks import Inference, Inferred, Stack

    type Ask = Callable[[], Awaitable[Inferred]]

_NOTHING = Usage(0, 0)


class Inferences:
    """Asks the stack, for as many callers at once as tasks may run."""

    def __init__(self, stack: Stack, limits: Limits, quotas: Quotas | None) -> None:
        """``quotas`` is None where none are."""
        self._stack = stack
        self._seconds = limits.turn_seconds
        self._admission = Admission(limits)
        self._budget = Budget(limits)
        self._quotas = quotas

    async def infer(self, asked: Inference) -> Inferred:
        """Return the answer of the model; what it cost is taken from the quota of ``owner``.

        Raises ``TooManyTasks``, ``QuotaExceeded``, ``StateUnavailable`` and ``StackError``.
        """
        return await self._admitted(asked, lambda: self._stack.infer(asked))

    async def name_topic(self, asked: Inference, *, as_asked: bool) -> Inferred:
        """Return the topic of a question, named ``as_asked`` or as the stack does it by itself.

        Raises what ``infer`` does, and ``TooManyTasks`` at once: nobody is to wait for a topic.
        """
        if not self._admission.has_place(asked.owner):
            raise TooManyTasks(RETRY_AFTER_SECONDS)
        if as_asked:
            return await self.infer(asked)
        return await self._admitted(
            asked, lambda: self._stack.topic_of(asked.text, asked.owner, asked.model)
        )

    async def _admitted(self, asked: Inference, ask: Ask) -> Inferred:
        with self._budget.hold(asked.owner, len(asked.text) + len(asked.instructions)):
            await self._admission.enter(asked.owner)
            try:
                if self._quotas is None:
                    return await self._ask(ask)
                return await self._charged(self._quotas, asked, ask)
            finally:
                self._admission.leave(asked.owner)

    async def _ask(self, ask: Ask) -> Inferred:
        try:
            async with asyncio.timeout(self._seconds):
                return await ask()
        except TimeoutError as exc:
            raise StackTimeout from exc

    async def _charged(self, quotas: Quotas, asked: Inference, ask: Ask) -> Inferred:
        request = request_for(asked, "")
        charge = await quotas.admit(asked.owner, request, 0)
        hear = charge.begin(request, 0)
        try:
            inferred = await self._ask(ask)
            hear(TextDelta(inferred.text))
            # A stack that counts nothing has not answered for nothing: what is not told is estimated.
            if inferred.usage is not None and inferred.usage != _NOTHING:
                hear(inferred.usage)
            hear(TurnCompleted("end_of_turn"))
        except (RequestError, StackUnavailable):
            charge.meter.refused()
            raise
        finally:
            await charge.settle()
        return inferred
