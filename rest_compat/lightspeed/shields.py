"""``GET /v1/shields``: the shields that there are."""

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from rest_compat.callers import Callers
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.masking import without_secrets
from rest_compat.lightspeed.responses import LISTING, succeeds
from rest_compat.lightspeed.rows import rows

_EXAMPLE: dict[str, Any] = {
    "shields": [
        {
            "identifier": "lightspeed_question_validity-shield",
            "provider_resource_id": "lightspeed_question_validity-shield",
            "provider_id": "lightspeed_question_validity",
            "type": "shield",
            "params": {},
        }
    ]
}


class ShieldsResponse(BaseModel):
    """The shields, as Llama Stack describes them."""

    shields: list[dict[str, Any]]


def make_shields(backend: Backend, callers: Callers) -> APIRouter:
    """Return the route."""
    router = callers.router("shields")

    @router.get(
        "/v1/shields",
        operation_id="shields_endpoint_handler_v1_shields_get",
        summary="Shields Endpoint Handler",
        dependencies=[Depends(callers.may("get_shields"))],
        responses=succeeds(_EXAMPLE) | LISTING,
    )
    async def shields() -> ShieldsResponse:
        """List the shields that messages and answers may be checked with."""
        known = rows(await backend.stack.shields(), dict[str, Any])
        return ShieldsResponse(shields=[without_secrets(shield) for shield in known])

    return router
