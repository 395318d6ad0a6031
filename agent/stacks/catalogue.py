"""What a Llama Stack 0.3.x has to offer, read through its client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

import msgspec

from agent.errors import StackError, StackUnavailable
from agent.stacks.agents_api_wire import read
from agent.stacks.base import BaseStack, Health, Model
from agent.stacks.client import connect, translating
from agent.stacks.turn import Json  # noqa: TC001 - msgspec resolves the annotations of fields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from llama_stack_client import AsyncLlamaStackClient

    from agent.settings import Settings

_PAGE = 100  # the most that the server gives at once


class _Listing(msgspec.Struct):
    data: list[dict[str, Json]]
    has_more: bool | None = None
    last_id: str | None = None


class _Model(msgspec.Struct):
    identifier: str
    provider_id: str
    model_type: str = "llm"
    metadata: dict[str, Json] | None = None


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
        return [
            Model(model.identifier, model.provider_id, model.model_type, model.metadata or {})
            for model in (read(wire, _Model) for wire in listing.data)
        ]

    @override
    async def shields(self) -> Sequence[Json]:
        """Return the shields as the server describes them."""
        return (await answer_as(_Listing, self.client.shields.with_raw_response.list())).data

    @override
    async def tools(self) -> Sequence[Json]:
        """Return the tools of all tool groups as the server describes them."""
        return (await answer_as(_Listing, self.client.tools.with_raw_response.list())).data

    @override
    async def providers(self) -> Sequence[Json]:
        """Return the providers as the server describes them; it hides the secrets in them."""
        return (await answer_as(_Listing, self.client.providers.with_raw_response.list())).data

    @override
    async def vector_stores(self) -> Sequence[Json]:
        """Return the vector stores as the server describes them."""
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
