"""A Llama Stack at a URL: which of its APIs runs the turns is found out once it can be reached."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from agent.errors import StackUnavailable
from agent.stacks.base import Health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence

    from agent.settings import Settings
    from agent.stacks.base import Model, Reranked, Stack
    from agent.stacks.turn import (
        Inference,
        Inferred,
        Json,
        Owner,
        TurnCompleted,
        TurnEvent,
        TurnRequest,
    )

logger = logging.getLogger(__name__)


class RemoteStack:
    """Stands for the stack that fits the server; one that is down at start is asked again later."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is asked yet."""
        self._settings = settings
        self._found: Stack | None = None
        self._finding = asyncio.Lock()

    async def open(self) -> None:
        """Try to find the server; it may come up later."""
        try:
            await self.found()
        except StackUnavailable as exc:
            logger.warning("Llama Stack cannot be reached yet: %s", exc.message)

    async def close(self) -> None:
        """Close the stack that was found."""
        if self._found is not None:
            await self._found.close()

    async def found(self) -> Stack:
        """Return the stack that fits the server; raises ``StackUnavailable``."""
        async with self._finding:
            if self._found is None:
                self._found = await self._find()
            return self._found

    @property
    def settings(self) -> Settings:
        """Where the server is; that of library mode is somewhere once it is open."""
        return self._settings

    async def served(self) -> frozenset[str]:
        """Ask the server which paths it has now; raises ``StackError``."""
        from agent.stacks.client import served_paths

        return await served_paths(self._settings)

    async def _find(self) -> Stack:
        # Imported where they are needed: the client library alone takes a second.
        from agent.stacks.client import stack_for

        stack: Stack
        if stack_for(await self.served()) == "agents_api":
            from agent.stacks.agents_api import AgentsApiStack

            stack = AgentsApiStack(self._settings)
        else:
            from agent.stacks.responses_api import ResponsesApiStack

            stack = ResponsesApiStack(self._settings)
        await stack.open()
        return stack

    async def start_conversation(self, owner: Owner) -> str:
        """See ``Stack``."""
        return await (await self.found()).start_conversation(owner)

    async def turn(self, request: TurnRequest) -> AsyncIterator[TurnEvent]:
        """See ``Stack``."""
        # A stack's turn is told to end where ours ends: else its stream would stay open for a while.
        turn: Any = (await self.found()).turn(request)
        async with aclosing(turn) as events:
            async for event in events:
                yield event

    async def cancel(self, conversation_id: str, turn_id: str) -> None:
        """See ``Stack``."""
        await (await self.found()).cancel(conversation_id, turn_id)

    async def outcome(self, conversation_id: str, turn_id: str) -> TurnCompleted | None:
        """See ``Stack``."""
        return await (await self.found()).outcome(conversation_id, turn_id)

    async def infer(self, request: Inference) -> Inferred:
        """See ``Stack``."""
        return await (await self.found()).infer(request)

    async def topic_of(self, question: str, owner: Owner, model: str | None = None) -> Inferred:
        """See ``Stack``."""
        return await (await self.found()).topic_of(question, owner, model)

    async def delete_conversation(self, conversation_id: str) -> None:
        """See ``Stack``."""
        await (await self.found()).delete_conversation(conversation_id)

    async def steps(
        self, conversation_id: str, turn_ids: Collection[str]
    ) -> Mapping[str, Sequence[Json]]:
        """See ``Stack``."""
        return await (await self.found()).steps(conversation_id, turn_ids)

    async def embed(self, texts: Sequence[str], model: str | None) -> Sequence[Sequence[float]]:
        """See ``Stack``."""
        return await (await self.found()).embed(texts, model)

    async def rerank(
        self, model: str, query: Reranked, items: Sequence[Reranked]
    ) -> Sequence[float] | None:
        """See ``Stack``."""
        return await (await self.found()).rerank(model, query, items)

    async def models(self) -> Sequence[Model]:
        """See ``Stack``."""
        return await (await self.found()).models()

    async def shields(self) -> Sequence[Json]:
        """See ``Stack``."""
        return await (await self.found()).shields()

    async def tools(self) -> Sequence[Json]:
        """See ``Stack``."""
        return await (await self.found()).tools()

    async def providers(self) -> Sequence[Json]:
        """See ``Stack``."""
        return await (await self.found()).providers()

    async def vector_stores(self) -> Sequence[Json]:
        """See ``Stack``."""
        return await (await self.found()).vector_stores()

    async def version(self) -> str:
        """See ``Stack``."""
        return await (await self.found()).version()

    async def health(self) -> Health:
        """Tell whether the server can be reached."""
        try:
            return await (await self.found()).health()
        except StackUnavailable as exc:
            return Health(ok=False, detail=exc.message)
