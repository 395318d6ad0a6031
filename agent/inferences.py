"""Single questions to a model, outside of any conversation: within the same limits as turns."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from agent.admission import RETRY_AFTER_SECONDS, Admission
from agent.budget import Budget
from agent.errors import RequestError, StackTimeout, StackUnavailable, TooManyTasks
from agent.stacks import TextDelta, TurnCompleted, Usage
from agent.stacks.single_turn import request_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from agent.budget import Hold
    from agent.quotas.quotas import Quotas
    from agent.settings.own import Limits
    from agent.stacks import Inference, Inferred, Stack, TurnEvent

    type Ask = Callable[[], Awaitable[Inferred]]
    type Hear = Callable[[TurnEvent], None]

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

    @property
    def charges(self) -> bool:
        """Whether what is spent is counted."""
        return self._quotas is not None

    async def infer(self, asked: Inference) -> Inferred:
        """Return the answer of the model; what it cost is taken from the quota of ``owner``.

        Raises ``TooManyTasks``, ``QuotaExceeded``, ``StateUnavailable`` and ``StackError``.
        """
        return await self._admitted(asked, lambda: self._stack.infer(asked))

    def hold(self, owner: str, size: int) -> Hold:
        """Count what is still to be asked, and waits for something else; raises ``TooManyTasks``."""
        return self._budget.hold(owner, size)

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

    @asynccontextmanager
    async def admitted(
        self, asked: Inference, *, held: int = 0, size: int | None = None
    ) -> AsyncIterator[Hear]:
        """Do what is asked in some other way, within the limits of ``infer``; raises as it does.

        What comes of it is to be told to what this yields: what it costs is taken from the quota.
        ``held`` is what the model reads beside the text, in tokens; ``size`` that of the request, if it
        is another than that of the texts.
        """
        size = len(asked.text) + len(asked.instructions) if size is None else size
        with self._budget.hold(asked.owner, size):
            await self._admission.enter(asked.owner)
            try:
                if self._quotas is None:
                    yield _hear_nothing
                else:
                    async with _charged(self._quotas, asked, held) as hear:
                        yield hear
            finally:
                self._admission.leave(asked.owner)

    async def _admitted(self, asked: Inference, ask: Ask) -> Inferred:
        async with self.admitted(asked) as hear:
            inferred = await self._ask(ask)
            hear(TextDelta(inferred.text))
            # A stack that counts nothing has not answered for nothing: what is not told is estimated.
            if inferred.usage is not None and inferred.usage != _NOTHING:
                hear(inferred.usage)
            hear(TurnCompleted("end_of_turn"))
        return inferred

    async def _ask(self, ask: Ask) -> Inferred:
        try:
            async with asyncio.timeout(self._seconds):
                return await ask()
        except TimeoutError as exc:
            raise StackTimeout from exc


@asynccontextmanager
async def _charged(quotas: Quotas, asked: Inference, held: int) -> AsyncIterator[Hear]:
    request = request_for(asked, "")
    charge = await quotas.admit(asked.owner, request, held)
    hear = charge.begin(request, held)
    try:
        yield hear
    except (RequestError, StackUnavailable):
        charge.meter.refused()
        raise
    finally:
        await charge.settle()


def _hear_nothing(event: TurnEvent) -> None:
    """Where there are no quotas."""
