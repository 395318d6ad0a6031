"""Llama Stack's experimental API: a FastAPI application for what is below ``/v1alpha`` and ``/v1beta``."""

from collections.abc import Iterator

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.middleware import Middleware

from agent.auth.gate import Gate
from agent.card import own_version
from agent.errors import AgentError
from agent.experimental import Experimental
from agent.metrics import Metrics
from agent.settings import Settings
from rest_compat.callers import Callers
from rest_compat.llama_stack.agents import make_agents
from rest_compat.llama_stack.datasets import make_datasets
from rest_compat.llama_stack.engine_header import EngineHeader
from rest_compat.llama_stack.eval import make_eval
from rest_compat.llama_stack.post_training import make_post_training
from rest_compat.llama_stack.problems import llama_stack_response, refuse
from rest_compat.llama_stack.rerank import make_rerank
from rest_compat.llama_stack.sessions import make_sessions
from rest_compat.llama_stack.turns import make_turns
from rest_compat.measured import Measured
from rest_compat.methods import method_not_allowed
from rest_compat.problems import LastResort
from rest_compat.slashes import Forgiving

OPENAPI = "/v1alpha/openapi.json"


def make_llama_stack(
    gate: Gate, settings: Settings, experimental: Experimental, metrics: Metrics
) -> FastAPI:
    """Return the application; what it works with is opened and closed by others."""
    app = FastAPI(
        title=f"{settings.name} - Llama Stack's experimental API",
        version=own_version(),
        openapi_url=OPENAPI,
        docs_url=None,
        redoc_url=None,
        # Redirects would name the host that the caller named.
        redirect_slashes=False,
        middleware=[
            Middleware(Forgiving),
            Middleware(Measured, metrics),
            Middleware(EngineHeader, experimental.engines),
            Middleware(LastResort, llama_stack_response),
        ],
        exception_handlers={
            AgentError: refuse,
            RequestValidationError: refuse,
            405: method_not_allowed,
        },
    )
    for router in _routers(settings, experimental, Callers(gate, settings.limits)):
        app.include_router(router)
    return app


def _routers(
    settings: Settings, experimental: Experimental, callers: Callers
) -> Iterator[APIRouter]:
    """Yield the routers of all resources; what is asked most is looked for first."""
    agents = experimental.agents
    yield make_turns(agents, callers, settings.a2a.keep_alive_seconds)
    yield make_sessions(agents, callers)
    yield make_agents(agents, callers, experimental.check_models)
    yield make_rerank(experimental.reranking, callers)
    yield make_datasets(experimental.datasets, callers)
    yield make_eval(experimental.evaluation, callers)
    yield make_post_training(experimental.training, callers)
