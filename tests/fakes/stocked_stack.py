"""A scripted stack that has models, shields and stores of documents, and names topics."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, override

import httpx

from agent.app import create_app
from agent.settings import Settings
from agent.stacks import Inferred, Usage
from agent.stacks.base import Model
from tests.fakes.scripted_stack import Script, ScriptedStack, scripted
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import anyio

    from agent.stacks import Inference, Owner
    from tests.fakes.scripted_stack import Turn

STOCKED = "tests.fakes.stocked_stack:StockedStack"
MODELS = (Model("openai/gpt", "openai"), Model("openai/embed", "openai", "embedding"))


class Stock(Script):
    """What the stack does, and what it says of topics: a name, or what goes wrong.

    ``topics`` are the questions that it was asked to name. ``naming`` is waited for before.
    """

    def __init__(
        self,
        *turns: Turn,
        topic: str | Exception = "Foxes",
        naming: anyio.Event | None = None,
        stores: Sequence[str] = ("vs_1",),
    ) -> None:
        super().__init__(*turns)
        self.topic = topic
        self.naming = naming
        self.stores = stores
        self.topics: list[str] = []
        self.inferences: list[Inference] = []


class StockedStack(ScriptedStack):
    """Runs a ``Stock``."""

    script: Stock

    @override
    async def models(self) -> Sequence[Model]:
        return MODELS

    @override
    async def providers(self) -> Sequence[Any]:
        return [{"api": "inference", "provider_id": "idle", "provider_type": "remote::idle"}]

    @override
    async def shields(self) -> Sequence[Any]:
        return [{"identifier": "guard", "type": "shield"}]

    @override
    async def vector_stores(self) -> Sequence[Any]:
        return [{"id": store, "name": store} for store in self.script.stores]

    @override
    async def topic_of(self, question: str, owner: Owner, model: str | None = None) -> Inferred:
        self.script.topics.append(question)
        return await self._named(model)

    @override
    async def infer(self, request: Inference) -> Inferred:
        self.script.inferences.append(request)
        return await self._named(request.model)

    async def _named(self, model: str | None) -> Inferred:
        if self.script.naming is not None:
            await self.script.naming.wait()
        if isinstance(self.script.topic, Exception):
            raise self.script.topic
        return Inferred(self.script.topic, model, Usage(3, 2))


@asynccontextmanager
async def stocked(stock: Stock, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the application on a stack with this stock; yields a client of it."""
    with scripted(stock) as name:
        given: dict[str, Any] = {"name": name, "stack": STOCKED, "a2a_state": {"memory": True}}
        app = create_app(Settings.model_validate(given | settings))
        async with run_server(app) as url, httpx.AsyncClient(base_url=url, timeout=10) as http:
            yield http
