"""The REST application: a FastAPI application for what neither A2A nor the cards claim."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.middleware import Middleware

from agent.auth.gate import Gate
from agent.card import own_version
from agent.errors import AgentError
from agent.settings import Settings
from rest_compat.lightspeed.authorized import make_authorized
from rest_compat.lightspeed.callers import Callers
from rest_compat.lightspeed.config import make_config
from rest_compat.lightspeed.health import Providers, make_health
from rest_compat.lightspeed.mcp_auth import make_mcp_auth
from rest_compat.lightspeed.pages import OPENAPI, make_pages
from rest_compat.problems import LastResort, refuse

_ABOUT = "The API of the Lightspeed Core Service, as far as this server has it."


def make_lightspeed(settings: Settings, gate: Gate, providers: Providers) -> FastAPI:
    """Return the application; what it works with is opened and closed by others."""
    app = FastAPI(
        title=f"{settings.name} - OpenAPI",
        summary=_ABOUT,
        version=own_version(),
        openapi_url=OPENAPI,
        docs_url=None,
        redoc_url=None,
        # Redirects would name the host that the caller named.
        redirect_slashes=False,
        middleware=[Middleware(LastResort)],
        exception_handlers={AgentError: refuse, RequestValidationError: refuse},
    )
    callers = Callers(gate, settings.limits)
    app.include_router(make_health(settings, callers, providers))
    app.include_router(make_authorized(callers))
    app.include_router(make_config(settings, callers))
    app.include_router(make_mcp_auth(settings, callers))
    app.include_router(make_pages(app.title))
    return app
