"""Microsoft Entra ID, as far as it gives tokens to clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

TENANT, CLIENT, SECRET = "tenant-0001", "client-0002", "hush/hush+0003"


class FakeEntra:
    """Gives ``token-1``, ``token-2`` …; ``broken`` is an answer instead, which repeats what was sent."""

    def __init__(self, expires_in: Any = 3600) -> None:
        self.expires_in = expires_in
        self.forms: list[dict[str, str]] = []
        self.broken: tuple[int, Any] | None = None

    @property
    def app(self) -> Starlette:
        """The server."""
        return Starlette(
            routes=[Route("/{tenant}/oauth2/v2.0/token", self._token, methods=["POST"])]
        )

    async def _token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        self.forms.append(form | {"tenant": request.path_params["tenant"]})
        if self.broken is not None:
            status, body = self.broken
            return JSONResponse(body, status, {"location": f"/?{SECRET}"})
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            return JSONResponse({"error": "invalid_client"}, 401)
        return JSONResponse(
            {
                "token_type": "Bearer",
                "expires_in": self.expires_in,
                "access_token": f"token-{len(self.forms)}",
            }
        )


def credentials(authority: str, **changes: Any) -> dict[str, Any]:
    """Return the section of the settings."""
    own = {"tenant_id": TENANT, "client_id": CLIENT, "client_secret": SECRET}
    return own | {"authority_host": authority} | changes
