"""``GET /v1/info``: what answers here, and which version of it."""

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from agent.card import own_version
from rest_compat.callers import Callers
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.responses import ACCESS, SERVICE_UNAVAILABLE, succeeds

_EXAMPLE = {
    "name": "Lightspeed Stack",
    "service_version": "1.0.0",
    "llama_stack_version": "1.0.0",
}


class InfoResponse(BaseModel):
    """The name of the service, its version, and that of what runs the turns."""

    name: str
    service_version: str
    llama_stack_version: str


def make_info(backend: Backend, callers: Callers) -> APIRouter:
    """Return the route."""
    router = callers.router("info")

    @router.get(
        "/v1/info",
        operation_id="info_endpoint_handler_v1_info_get",
        summary="Info Endpoint Handler",
        dependencies=[Depends(callers.may("info"))],
        responses=succeeds(_EXAMPLE) | ACCESS | SERVICE_UNAVAILABLE,
    )
    async def info() -> InfoResponse:
        """Tell the name and the versions; the Llama Stack is asked for its own."""
        return InfoResponse(
            name=backend.settings.name,
            service_version=own_version(),
            llama_stack_version=await backend.stack.version(),
        )

    return router
