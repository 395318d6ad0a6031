"""What a Llama Stack has to offer, read through its client; the same for all its versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

import msgspec

from agent.errors import (
    InvalidAgentResponse,
    InvalidParams,
    ModelNotFound,
    StackError,
    StackUnavailable,
    TurnFailed,
)
from agent.stacks.agents_api_wire import read
from agent.stacks.base import BaseStack, Health, Model
from agent.stacks.client import connect, translating
from agent.stacks.embeddings import embeddings
from agent.stacks.mcp_catalogue import McpCatalogue
from agent.stacks.naming import named, qualified
from agent.stacks.offered import Offer
from agent.stacks.relevance import relevances
from agent.stacks.turn import Json  # noqa: TC001 - msgspec resolves the annotations of fields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Iterable, Sequence

    from llama_stack_client import AsyncLlamaStackClient

    from agent.settings import Settings
    from agent.stacks.base import Reranked

_PAGE = 100  # the most that the server gives at once
NOT_SERVED = (404, 405, 501)
"""Statuses of what a server does not have."""


class _Listing(msgspec.Struct):
    data: list[dict[str, Json]]
    has_more: bool | None = None
    last_id: str | None = None


class _Version(msgspec.Struct):
    version: str


class _Status(msgspec.Struct):
    status: str


class LlamaStackCatalogue(BaseStack):
    """Holds the client, and answers what the server's catalogue says."""

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
        super().__init__(settings)
        self._client: AsyncLlamaStackClient | None = None
        self._known: Sequence[Model] = ()
        self._mcp = McpCatalogue(settings.mcp_servers)
        self.offer = Offer(settings, self)

    @override
    async def open(self) -> None:
        """Build the client; whether the server is up shows with the first request."""
        self._client = connect(self.settings)

    @override
    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    @property
    def client(self) -> AsyncLlamaStackClient:
        """The client; raises ``StackUnavailable`` unless the stack is open."""
        if self._client is None:
            raise StackUnavailable
        return self._client

    @override
    async def models(self) -> Sequence[Model]:
        """Return all models, embedding models too."""
        listing = await answer_as(_Listing, self.client.models.with_raw_response.list())
        self._known = [_model(row) for row in listing.data]
        return self._known

    async def model_named(self, wanted: str) -> Model:
        """Return the language model that is meant by an id, with or without its provider.

        The server is asked again only for what it was not seen with. Raises ``ModelNotFound``.
        """
        found = _find(self._known, wanted) or _find(await self.models(), wanted)
        if found is None:
            raise ModelNotFound
        return found

    async def identifier_of(self, name: str) -> str:
        """Return the server's id of a model; one that is not listed stays as it is."""
        found = _find(self._known or await self.models(), name)
        return found.identifier if found else name

    async def qualified(self, identifier: str) -> str:
        """Return a model's id as ``provider/model``; one that is not listed stays as it is."""
        found = _find(self._known or await self.models(), identifier)
        return qualified(found) if found else identifier

    async def language_models(self) -> list[str]:
        """Return the ids of the models that answer, those of shields last."""
        served = [each.identifier for each in await self.models() if each.model_type == "llm"]
        try:
            guards = {shield.get("provider_resource_id") for shield in await self.shields()}
        except TurnFailed:  # a server without the safety API
            return served
        return sorted(served, key=guards.__contains__)

    @override
    async def shields(self) -> Sequence[Json]:
        """Return the shields as the server describes them; a server without that API has none."""
        return await if_served(self._rows(self.client.shields.with_raw_response.list()))

    @override
    async def embed(self, texts: Sequence[str], model: str | None) -> Sequence[Sequence[float]]:
        """Ask the server: for ``model``, or that of the settings, or the first one that it has."""
        wanted = model or self.settings.experimental.embedding_model
        found = _find(await self._models_seen(wanted), wanted, "embedding")
        if found is None:
            raise ModelNotFound("The stack behind this agent has no such embedding model.")
        return await embeddings(self.client, found.identifier, texts)

    @override
    async def rerank(
        self, model: str, query: Reranked, items: Sequence[Reranked]
    ) -> Sequence[float] | None:
        """Ask the server if the model is a reranker of it."""
        found = _find(await self._models_seen(model), model, "rerank")
        if found is None:
            return None
        try:
            return await relevances(self.client, found.identifier, query, items)
        except StackError as exc:
            if is_not_served(exc):
                return None
            raise

    async def _models_seen(self, wanted: str | None) -> Sequence[Model]:
        """Return the models; the server is asked again only for what it was not seen with."""
        seen = any(_find(self._known, wanted, kind) for kind in ("llm", "embedding", "rerank"))
        return self._known if seen and wanted else await self.models()

    async def check_shields(self, wanted: Collection[str]) -> None:
        """Raise ``InvalidParams`` for a shield that the server does not have."""
        if not wanted:
            return
        known = {shield.get("identifier") for shield in await self.shields()}
        for name in wanted:
            if name not in known:
                raise InvalidParams("shield_ids", f"there is no shield {name}")

    @override
    async def tools(self) -> Sequence[Json]:
        """Return the tools of all tool groups as the server describes them, and who provides them.

        The tools of MCP servers that it has no tool groups for are asked of those.
        """
        rows = await if_served(self._rows(self.client.tools.with_raw_response.list()))
        if not all(row.get("provider_id") for row in rows):
            groups = await self.toolgroups()
            providers = {group.get("identifier"): group.get("provider_id") for group in groups}
            rows = [{"provider_id": providers.get(row.get("toolgroup_id"))} | row for row in rows]
        return [*rows, *await self._mcp.tools({row.get("toolgroup_id") for row in rows})]

    async def toolgroups(self) -> Sequence[Json]:
        """Return the tool groups as the server describes them; a server may have none at all."""
        return await if_served(self._rows(self.client.toolgroups.with_raw_response.list()))

    async def _rows(self, call: Awaitable[Any]) -> Sequence[dict[str, Json]]:
        return (await answer_as(_Listing, call)).data

    @override
    async def providers(self) -> Sequence[Json]:
        """Return the providers as the server describes them; it hides the secrets in them."""
        return (await answer_as(_Listing, self.client.providers.with_raw_response.list())).data

    @override
    async def vector_stores(self) -> Sequence[Json]:
        """Return the vector stores as the server describes them; a server may have none at all."""
        return await if_served(self._stores())

    async def _stores(self) -> Sequence[Json]:
        stores: list[Json] = []
        more: dict[str, Any] = {}
        while True:
            call = self.client.vector_stores.with_raw_response.list(limit=_PAGE, **more)
            page = await answer_as(_Listing, call)
            stores += page.data
            if not page.has_more or not page.last_id or not page.data:
                return stores
            more = {"after": page.last_id}

    @override
    async def version(self) -> str:
        """Return the version of the server."""
        call = self.client.inspect.with_raw_response.version()
        return (await answer_as(_Version, call)).version

    @override
    async def health(self) -> Health:
        """Tell whether the server answers and says that it is well."""
        try:
            status = await answer_as(_Status, self.client.inspect.with_raw_response.health())
        except StackError as exc:
            return Health(ok=False, detail=exc.message)
        if status.status == "OK":
            return Health(ok=True)
        return Health(ok=False, detail="Llama Stack says that it is not well.")


async def answered(call: Awaitable[Any]) -> Json:
    """Return the JSON that a call of a ``with_raw_response`` resource gives.

    The client's own models are not used: they check nothing, and fail with AttributeError later
    when what answers is no Llama Stack. Raises ``StackError``.
    """
    with translating():
        wire: Json = await (await call).json()
    return wire


async def answer_as[T](shape: type[T], call: Awaitable[Any]) -> T:
    """Read what ``answered`` returns as ``shape``."""
    return read(await answered(call), shape)


async def if_served(listing: Awaitable[Sequence[Json]]) -> Sequence[Json]:
    """Return a listing; nothing when the server does not have that API."""
    try:
        return await listing
    except StackError as exc:
        if is_not_served(exc):
            return []
        raise


def is_not_served(error: StackError) -> bool:
    """Tell whether the server answered that it does not have what was asked for."""
    return getattr(error.__cause__, "status_code", None) in NOT_SERVED


def _find(models: Iterable[Model], wanted: str | None, kind: str = "llm") -> Model | None:
    """Find a model of a kind by one of its names, or else the first."""
    answering = [model for model in models if model.model_type == kind]
    return next(iter(answering), None) if wanted is None else named(answering, wanted)


def _model(row: dict[str, Json]) -> Model:
    """Read a model: 0.3.5 has everything at the top, later servers most in ``custom_metadata``."""
    custom = row.get("custom_metadata")
    about = custom if isinstance(custom, dict) else row
    metadata = row.get("metadata") if about is row else about
    identifier = row.get("identifier") or row.get("id")
    if not isinstance(identifier, str):
        raise InvalidAgentResponse
    return Model(
        identifier=identifier,
        provider_id=str(about.get("provider_id") or row.get("owned_by") or ""),
        model_type=str(about.get("model_type") or about.get("api_model_type") or "llm"),
        metadata=metadata if isinstance(metadata, dict) else {},
        provider_resource_id=str(about.get("provider_resource_id") or "") or None,
    )
