"""``POST /authorized``: who the caller is."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from agent.caller import Caller
from rest_compat.callers import Callers
from rest_compat.lightspeed.responses import ACCESS, succeeds

_EXAMPLE = {
    "user_id": "123e4567-e89b-12d3-a456-426614174000",
    "username": "user1",
    "skip_userid_check": False,
}


class AuthorizedResponse(BaseModel):
    """Whom the credentials belong to; the token itself is left out."""

    user_id: str
    username: str
    skip_userid_check: bool


def make_authorized(callers: Callers) -> APIRouter:
    """Return the route; whoever is known may ask."""
    router = callers.router("authorized")

    @router.post(
        "/authorized",
        operation_id="authorized_endpoint_handler_authorized_post",
        summary="Authorized Endpoint Handler",
        responses=succeeds(_EXAMPLE) | ACCESS,
    )
    async def authorized(
        caller: Annotated[Caller, Depends(callers.known())],
    ) -> AuthorizedResponse:
        """Tell the id and the name of the caller, without the token."""
        return AuthorizedResponse(
            user_id=caller.user_id,
            username=caller.username,
            skip_userid_check=caller.skip_user_id_check,
        )

    return router
