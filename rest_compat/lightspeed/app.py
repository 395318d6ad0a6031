"""The REST application: a FastAPI application for what neither A2A nor the cards claim."""

from collections.abc import Iterator

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.middleware import Middleware

from agent.auth.gate import Gate
from agent.card import own_version
from agent.errors import AgentError
from rest_compat.callers import Callers
from rest_compat.lightspeed.a2a_health import make_a2a_health
from rest_compat.lightspeed.asking import Asking
from rest_compat.lightspeed.authorized import make_authorized
from rest_compat.lightspeed.backend import Backend
from rest_compat.lightspeed.config import make_config
from rest_compat.lightspeed.conversations_v1 import make_conversations_v1
from rest_compat.lightspeed.conversations_v2 import make_conversations_v2
from rest_compat.lightspeed.feedback import make_feedback
from rest_compat.lightspeed.health import make_health
from rest_compat.lightspeed.index import make_index
from rest_compat.lightspeed.infer import make_infer
from rest_compat.lightspeed.info import make_info
from rest_compat.lightspeed.mcp_auth import make_mcp_auth
from rest_compat.lightspeed.metrics import make_metrics
from rest_compat.lightspeed.models import make_models
from rest_compat.lightspeed.openapi import Documented
from rest_compat.lightspeed.pages import OPENAPI, make_pages
from rest_compat.lightspeed.providers import make_providers
from rest_compat.lightspeed.query import make_query
from rest_compat.lightspeed.rags import make_rags
from rest_compat.lightspeed.shields import make_shields
from rest_compat.lightspeed.streaming_query import make_streaming_query
from rest_compat.lightspeed.tools import make_tools
from rest_compat.measured import Measured
from rest_compat.methods import method_not_allowed
from rest_compat.problems import LastResort, refuse
from rest_compat.slashes import Forgiving

_ABOUT = "The API of the Lightspeed Core Service, beside A2A."


def make_lightspeed(gate: Gate, backend: Backend) -> FastAPI:
    """Return the application; what it works with is opened and closed by others."""
    settings = backend.settings
    app = Documented(
        title=f"{settings.name} - OpenAPI",
        summary=_ABOUT,
        version=own_version(),
        openapi_url=OPENAPI,
        docs_url=None,
        redoc_url=None,
        # Redirects would name the host that the caller named.
        redirect_slashes=False,
        middleware=[
            Middleware(Forgiving),
            Middleware(Measured, backend.aside.metrics),
            Middleware(LastResort),
        ],
        exception_handlers={
            AgentError: refuse,
            RequestValidationError: refuse,
            405: method_not_allowed,
        },
    )
    for router in _routers(backend, Callers(gate, settings.limits)):
        app.include_router(router)
    app.include_router(make_pages(app.title))
    return app


def _routers(backend: Backend, callers: Callers) -> Iterator[APIRouter]:
    """Yield the routers of all resources."""
    settings = backend.settings
    # What is asked most is looked for first: routes are tried in their order.
    asking = Asking(backend)
    yield make_query(backend, callers, asking)
    yield make_streaming_query(backend, callers, asking)
    yield make_index(settings, callers)
    yield make_info(backend, callers)
    yield make_models(backend, callers)
    yield make_tools(backend, callers)
    yield make_shields(backend, callers)
    yield make_providers(backend, callers)
    yield make_rags(backend, callers)
    yield make_feedback(backend, callers)
    yield make_conversations_v1(backend, callers)
    yield make_conversations_v2(backend, callers)
    yield make_infer(backend, callers)
    yield make_health(settings, callers, backend.providers)
    yield make_a2a_health(callers)
    yield make_metrics(backend, callers)
    yield make_authorized(callers)
    yield make_config(settings, callers)
    yield make_mcp_auth(settings, callers)
