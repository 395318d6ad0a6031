"""The composition root: the only place that constructs things, and the order in which they open and close."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from agent.auth.access import Access
from agent.auth.attempts import Attempts
from agent.auth.choice import make_authenticator
from agent.auth.gate import Gate
from agent.auth.warning import warnings_of
from agent.card import KEY_SET, Card, load_card
from agent.card_features import features_of
from agent.card_http import card_response, key_set_response
from agent.counted import counted
from agent.engine import Engine, make_engine, open_part
from agent.experimental import Experimental, make_experimental
from agent.extensions import Extensions
from agent.grpc_binding import make_grpc
from agent.http_json.routes import HttpJsonRoute
from agent.jsonrpc import LATEST, JsonRpc
from agent.operations import Operations
from agent.rpc_answer import failure, unexpected
from agent.settings.unused import unused
from agent.stacks.mcp_headers import doubts
from agent.transport.application import Application, Straight
from agent.transport.by_prefix import ByPrefix
from agent.transport.deferred import Deferred
from agent.transport.methods import not_this_way

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

    from agent.audit import Audit
    from agent.grpc_binding.server import GrpcServer
    from agent.settings import Settings

logger = logging.getLogger(__name__)

# A slash at the end is forgiven without a redirect, which many clients do not follow for POST.
RPC_PATHS = ("/a2a", "/", "/a2a/")

DRAIN, STOP, LIMITS = "drain", "stop", "limits"
"""Keys of the lifespan's state. ``DRAIN``: a coroutine function that takes seconds, in which tasks that
run may end while no new ones begin; ``STOP``: one that stops the tasks that run; ``LIMITS``: those of
the settings, for whoever speaks HTTP."""


def create_app(
    settings: Settings,
    started: datetime | None = None,
    *,
    training_command: Sequence[str] | None = None,
) -> Starlette:
    """Return the whole server; nothing is opened before its lifespan. Raises ``SettingsError``.

    ``training_command`` starts what trains, see ``Training``.
    """
    card = make_card(settings, started)
    engine = make_engine(settings, card.input_modes)
    audit = engine.state.audit
    operations = Operations(engine.service, card, Extensions(settings.a2a.extensions), audit)
    gate = make_gate(settings, audit)
    on = partial(counted, operations, engine.aside.metrics)
    endpoint = JsonRpc(on("JSONRPC"), gate, settings)
    http_json = HttpJsonRoute(on("HTTP+JSON"), gate, settings)
    grpc = make_grpc(settings, on("GRPC"), gate)
    experimental = make_experimental(settings, engine, training_command)
    rest = Deferred(partial(make_rest, settings, gate, engine))
    lifespan = partial(_lifespan, settings, engine, experimental, gate, grpc)

    app = Application(
        settings,
        routes=[*_routes(endpoint, card, rest), http_json],
        middleware=[Middleware(Straight, endpoint, RPC_PATHS, settings.service.root_path)],
        exception_handlers={Exception: _broken, 405: not_this_way},
        lifespan=lambda _app: lifespan(),
    )
    # A redirect names the host that the caller has named.
    app.router.redirect_slashes = False
    # What nobody else claims is REST's, and be it to say that there is nothing.
    app.router.default = ByPrefix(
        dict.fromkeys(
            ("/v1alpha", "/v1beta"),
            Deferred(partial(make_llama_stack_rest, settings, gate, engine, experimental)),
        ),
        rest,
    )
    return app


@asynccontextmanager
async def _lifespan(
    settings: Settings,
    engine: Engine,
    experimental: Experimental,
    gate: Gate,
    grpc: GrpcServer | None,
) -> AsyncIterator[dict[str, Any]]:
    """Open everything in order, and close it in reverse."""
    _warn(settings)
    runner = engine.runner
    async with AsyncExitStack() as opened:
        await open_part(opened, gate)
        await opened.enter_async_context(engine.running())
        for part in experimental.parts:
            await open_part(opened, part)
        if grpc is not None:
            await opened.enter_async_context(grpc.serving(runner.close))
        yield {DRAIN: runner.drain, STOP: runner.close, LIMITS: settings.limits}


def _warn(settings: Settings) -> None:
    """Tell what is asked for and does not happen, and what is open that should perhaps be closed."""
    for doubt in (*unused(settings), *doubts(settings), *warnings_of(settings)):
        logger.warning("%s", doubt)


async def _broken(_request: Request, exc: Exception) -> Response:
    """Answer for a fault of ours outside any method; the log has the rest."""
    error = unexpected(exc, LATEST)
    return Response(failure(None, error), 500, media_type="application/json")


def make_card(settings: Settings, started: datetime | None = None) -> Card:
    """Return the agent card, computed from what this server does. Raises ``SettingsError``."""
    return load_card(settings, features_of(settings), started or datetime.now(UTC))


def _routes(endpoint: JsonRpc, card: Card, rest: ASGIApp) -> list[BaseRoute]:
    rpc = [Route(path, endpoint, methods=["POST"]) for path in RPC_PATHS]
    cards = ("/.well-known/agent-card.json", "/.well-known/agent.json", "/a2a")

    async def show_card(request: Request) -> Response:
        return card_response(request, card)

    async def show_key_set(request: Request) -> Response:
        return key_set_response(request, card)

    return [
        *rpc,
        # The page of REST is where JSON-RPC is, too.
        Route("/", rest, methods=["GET"]),
        *(Route(path + end, show_card, methods=["GET"]) for path in cards for end in ("", "/")),
        *(Route(KEY_SET + end, show_key_set, methods=["GET"]) for end in ("", "/")),
    ]


def make_rest(settings: Settings, gate: Gate, engine: Engine) -> ASGIApp:
    """Return the REST layer, over the same service, conversations and stack."""
    # FastAPI takes a fifth of a second, which nobody spends who does not speak REST.
    from rest_compat.lightspeed.app import make_lightspeed
    from rest_compat.lightspeed.backend import Backend
    from rest_compat.lightspeed.health import Providers

    backend = Backend(
        settings=settings,
        service=engine.service,
        stack=engine.stack,
        providers=Providers(
            engine.stack, engine.database, is_stopping=lambda: engine.runner.is_stopping
        ),
        runner=engine.runner,
        histories=engine.histories,
        inferences=engine.inferences,
        aside=engine.aside,
        quotas=engine.quotas,
    )
    return make_lightspeed(gate, backend)


def make_llama_stack_rest(
    settings: Settings, gate: Gate, engine: Engine, experimental: Experimental
) -> ASGIApp:
    """Return Llama Stack's experimental API."""
    from rest_compat.llama_stack.app import make_llama_stack

    return make_llama_stack(gate, settings, experimental, engine.aside.metrics)


def make_gate(settings: Settings, audit: Audit | None = None) -> Gate:
    """Return the way in. Raises ``SettingsError``."""
    rules = settings.authorization.access_rules if settings.authorization else ()
    return Gate(make_authenticator(settings), Access(rules), Attempts(settings.limits), audit)
