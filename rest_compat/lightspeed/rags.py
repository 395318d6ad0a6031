"""``GET /v1/rags`` and ``/v1/rags/{rag_id}``: the documents that can be searched."""

from typing import Any

import msgspec
from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from agent.errors import ResourceNotFound
from rest_compat.callers import Callers
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.responses import LISTING, not_found, succeeds
from rest_compat.lightspeed.rows import rows

_EXAMPLES = {
    "rags": [
        "vs_00000000-cafe-babe-0000-000000000000",
        "vs_7b52a8cf-0fa3-489c-beab-27e061d102f3",
        "vs_7b52a8cf-0fa3-489c-cafe-27e061d102f3",
    ]
}
_EXAMPLE = {
    "id": "vs_7b52a8cf-0fa3-489c-beab-27e061d102f3",
    "name": "Faiss Store with Knowledge base",
    "created_at": 1763391371,
    "last_active_at": 1763391371,
    "usage_bytes": 1024000,
    "object": "vector_store",
    "status": "completed",
}


class RAGListResponse(BaseModel):
    """The ids of the stores: of those in `byok_rag` the `rag_id`, of others Llama Stack's."""

    rags: list[str] = Field(title="RAG list response")


class RAGInfoResponse(BaseModel):
    """A store; times are seconds since 1970."""

    id: str
    name: str | None = None
    created_at: int
    last_active_at: int | None = None
    usage_bytes: int
    expires_at: int | None = None
    object: str
    status: str


class _Store(msgspec.Struct):
    id: str
    name: str | None = None
    created_at: int = 0
    last_active_at: int | None = None
    usage_bytes: int = 0
    expires_at: int | None = None
    object: str = "vector_store"
    status: str = "completed"


def make_rags(backend: Backend, callers: Callers) -> APIRouter:
    """Return the routes."""
    router = callers.router("rags")
    settings = backend.settings

    async def stores() -> list[_Store]:
        return rows(await backend.stack.vector_stores(), _Store)

    @router.get(
        "/v1/rags",
        operation_id="rags_endpoint_handler_v1_rags_get",
        summary="Rags Endpoint Handler",
        dependencies=[Depends(callers.may("list_rags"))],
        responses=succeeds(_EXAMPLES) | LISTING,
    )
    async def rags() -> RAGListResponse:
        """List the stores of documents."""
        return RAGListResponse(rags=[settings.rag_id(each.id) for each in await stores()])

    @router.get(
        "/v1/rags/{rag_id}",
        operation_id="get_rag_endpoint_handler_v1_rags__rag_id__get",
        summary="Get Rag Endpoint Handler",
        dependencies=[Depends(callers.may("get_rag"))],
        responses=succeeds(_EXAMPLE) | LISTING | not_found("rag"),
    )
    async def rag(rag_id: str) -> RAGInfoResponse:
        """Return one store, by the `rag_id` of the configuration or by the id that Llama Stack has for it."""
        store_id = settings.vector_store_id(rag_id)
        for each in await stores():
            if each.id == store_id:
                known: dict[str, Any] = msgspec.structs.asdict(each)
                return RAGInfoResponse.model_validate(known | {"id": settings.rag_id(each.id)})
        raise ResourceNotFound("rag", rag_id)

    return router
