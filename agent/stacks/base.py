"""What a turn runs on: the ``Stack`` protocol, what goes in and what comes out.

Public and fixed: other packages implement it (``--stack PACKAGE.MODULE:CLASS``). A stack of your own
derives from ``BaseStack`` and needs only ``turn``.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol

import msgspec

from agent.errors import ModelNotFound
from agent.stacks.single_turn import TOPIC, answer_of, request_for
from agent.stacks.turn import Inference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence

    from agent.settings import Settings
    from agent.stacks.turn import (
        Inferred,
        Json,
        Owner,
        TurnCompleted,
        TurnEvent,
        TurnRequest,
    )

    type Reranked = str | dict[str, Json]
    """A text, or a content part as the rerank API has it."""


class Model(msgspec.Struct, frozen=True):
    """A model of the stack. ``model_type`` is llm, embedding or rerank.

    ``provider_resource_id`` is what its provider calls it; else the identifier, without the provider.
    """

    identifier: str
    provider_id: str
    model_type: str = "llm"
    metadata: dict[str, Json] = {}
    provider_resource_id: str | None = None


class Health(msgspec.Struct, frozen=True):
    """Whether turns can run; ``detail`` says what is wrong."""

    ok: bool
    detail: str = ""


class Stack(Protocol):
    """Runs turns. Constructed as ``Class(settings)``; nothing happens before ``open``."""

    async def open(self) -> None:
        """Connect; raises ``StackError`` when that is impossible for ever, not when the server is down."""

    async def close(self) -> None:
        """Give everything back; safe to call when ``open`` failed."""

    async def start_conversation(self, owner: Owner) -> str:
        """Return the id of a new, empty conversation."""

    def turn(self, request: TurnRequest) -> AsyncIterator[TurnEvent]:
        """Run one turn, or resume it when ``request.resume`` is set.

        Ends after ``TurnCompleted``, ``InputRequired``, ``AuthRequired``, ``Rejected``, ``Failed`` or
        ``DirectMessage``. Closing the iterator gives the turn up. Raises ``StackError``.
        """

    async def cancel(self, conversation_id: str, turn_id: str) -> None:
        """Stop a turn that runs on the stack's side."""

    async def outcome(self, conversation_id: str, turn_id: str) -> TurnCompleted | None:
        """Tell what became of a turn; ``None`` when the stack does not know."""

    async def infer(self, request: Inference) -> Inferred:
        """Have a model answer once, outside of any conversation. Raises ``StackError``."""

    async def topic_of(self, question: str, owner: Owner, model: str | None = None) -> Inferred:
        """Name the topic of a conversation that begins with this question, in a few words."""

    async def delete_conversation(self, conversation_id: str) -> None:
        """Forget a conversation; one that is not there is forgotten. Raises ``StackError``."""

    async def steps(
        self, conversation_id: str, turn_ids: Collection[str]
    ) -> Mapping[str, Sequence[Json]]:
        """Return the steps of turns, by turn id, as the agents API has them; of others there are none."""

    async def embed(self, texts: Sequence[str], model: str | None) -> Sequence[Sequence[float]]:
        """Return the embedding of each text. Raises ``ModelNotFound`` without an embedding model."""

    async def rerank(
        self, model: str, query: Reranked, items: Sequence[Reranked]
    ) -> Sequence[float] | None:
        """Return how relevant each item is to the query; None when the stack has no such reranker."""

    async def models(self) -> Sequence[Model]:
        """List the models that turns can use."""

    async def shields(self) -> Sequence[Json]:
        """List the shields, as Llama Stack lists them."""

    async def tools(self) -> Sequence[Json]:
        """List the tools, as Llama Stack lists them."""

    async def providers(self) -> Sequence[Json]:
        """List the providers, as Llama Stack lists them."""

    async def vector_stores(self) -> Sequence[Json]:
        """List the vector stores, as Llama Stack lists them."""

    async def version(self) -> str:
        """Return the version of what runs the turns."""

    async def health(self) -> Health:
        """Tell whether turns can run now."""


class BaseStack:
    """A stack with an empty catalogue, and conversations that need no preparation."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings."""
        self.settings = settings

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to give back."""

    async def start_conversation(self, owner: Owner) -> str:
        """Return 48 random hex characters."""
        return secrets.token_hex(24)

    def turn(self, request: TurnRequest) -> AsyncIterator[TurnEvent]:
        """Run one turn: the one method that a stack must write."""
        raise NotImplementedError

    async def cancel(self, conversation_id: str, turn_id: str) -> None:
        """Nothing runs outside the iterator of ``turn``."""

    async def outcome(self, conversation_id: str, turn_id: str) -> TurnCompleted | None:
        """Turns are not remembered."""
        return None

    async def infer(self, request: Inference) -> Inferred:
        """Run a turn in a conversation of its own, which is forgotten."""
        conversation_id = await self.start_conversation(request.owner)
        try:
            return await answer_of(self.turn(request_for(request, conversation_id)))
        finally:
            await self.delete_conversation(conversation_id)

    async def topic_of(self, question: str, owner: Owner, model: str | None = None) -> Inferred:
        """Ask the model."""
        asked = Inference(text=question, instructions=TOPIC, owner=owner, model=model)
        return await self.infer(asked)

    async def delete_conversation(self, conversation_id: str) -> None:
        """Nothing is kept of conversations."""

    async def steps(
        self, conversation_id: str, turn_ids: Collection[str]
    ) -> Mapping[str, Sequence[Json]]:
        """Steps are not remembered."""
        return {}

    async def embed(self, texts: Sequence[str], model: str | None) -> Sequence[Sequence[float]]:
        """No embedding model."""
        raise ModelNotFound

    async def rerank(
        self, model: str, query: Reranked, items: Sequence[Reranked]
    ) -> Sequence[float] | None:
        """No reranker."""
        return None

    async def models(self) -> Sequence[Model]:
        """No models."""
        return ()

    async def shields(self) -> Sequence[Json]:
        """No shields."""
        return ()

    async def tools(self) -> Sequence[Json]:
        """No tools."""
        return ()

    async def providers(self) -> Sequence[Json]:
        """No providers."""
        return ()

    async def vector_stores(self) -> Sequence[Json]:
        """No vector stores."""
        return ()

    async def version(self) -> str:
        """No version."""
        return "none"

    async def health(self) -> Health:
        """Always able to run."""
        return Health(ok=True)
