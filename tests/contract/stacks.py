"""Stacks that do badly what the contract says may go badly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.stacks import BaseStack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.stacks import TurnEvent, TurnRequest

FAULTY = "tests.contract.stacks:Faulty"
SECRET = "canary-of-the-stack"


class Faulty(BaseStack):
    """Fails in a way that nobody has thought of."""

    async def models(self) -> Any:
        """Fail."""
        raise ValueError(SECRET)

    shields = tools = providers = vector_stores = version = health = models

    async def infer(self, request: Any) -> Any:
        """Fail."""
        raise ValueError(SECRET, request)

    async def delete_conversation(self, conversation_id: str) -> None:
        """Fail."""
        raise ValueError(SECRET, conversation_id)

    def turn(self, request: TurnRequest) -> AsyncIterator[TurnEvent]:
        """Fail."""
        raise ValueError(SECRET, request)
