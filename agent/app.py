"""The composition root: the only place that constructs things, and the order in which they open and close."""

from __future__ import annotations

import logging
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from a2a_state.contexts import Contexts
from a2a_state.database import connect
from a2a_state.journal import Journal
from a2a_state.migrate import migrate
from a2a_state.tasks import Tasks
from agent.auth.noop import Noop
from agent.card import Card, card_response, load_card
from agent.card_dialects import Features
from agent.errors import SettingsError
from agent.jsonrpc import LATEST, JsonRpc
from agent.lease import Holder
from agent.recovery import Recovery
from agent.rpc_answer import failure, unexpected
from agent.runner import Runner
from agent.service import Service
from agent.settings.unused import unused
from agent.stacks.choice import choose_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from a2a_state.database import Database
    from agent.auth.base import Authenticator
    from agent.settings import Settings
    from agent.settings.databases import A2AState

logger = logging.getLogger(__name__)

# What every stack of ours takes and makes; a stack may refuse a message all the same.
INPUT_MODES = ("text/plain", "text/markdown", "application/json", "application/yaml")
OUTPUT_MODES = ("text/plain", "application/json")


STOP = "stop"
"""Key of the lifespan's state: a coroutine function that ends the tasks that run."""


def create_app(settings: Settings) -> Starlette:
    """Return the whole server; nothing is opened before its lifespan. Raises ``SettingsError``."""
    database = make_database(settings)
    stack_name, stack = choose_stack(settings, database)
    journal, tasks, holder = Journal(database), Tasks(database), Holder()
    runner = Runner(stack, stack_name, journal, Contexts(database), tasks, holder, settings.limits)
    recovery = Recovery(tasks, journal, holder, runner)
    service = Service(settings, runner, tasks, holder)
    endpoint = JsonRpc(service, make_authenticator(settings), settings)
    card = make_card(settings)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Any]]:
        if names := unused(settings):
            logger.warning("Settings that this version does not act on: %s", ", ".join(names))
        async with AsyncExitStack() as opened:
            opened.push_async_callback(database.close)
            await database.open()
            await migrate(database)
            await journal.open()
            opened.push_async_callback(journal.close)
            opened.push_async_callback(stack.close)
            await stack.open()
            opened.push_async_callback(runner.close)
            opened.push_async_callback(recovery.close)
            await recovery.open()
            yield {STOP: runner.close}

    return Starlette(
        routes=_routes(endpoint, card),
        exception_handlers={Exception: _broken},
        lifespan=lifespan,
    )


async def _broken(_request: Request, exc: Exception) -> Response:
    """Answer for a fault of ours outside any method; the log has the rest."""
    error = unexpected(exc, LATEST)
    return Response(failure(None, error), 500, media_type="application/json")


def make_database(settings: Settings) -> Database:
    """Return the configured database; nothing is opened."""
    state = settings.a2a_state
    return connect(state.url, _connect_args(state))


def make_card(settings: Settings) -> Card:
    """Return the agent card, computed from what this server does. Raises ``SettingsError``."""
    features = Features(input_modes=_input_modes(settings), output_modes=OUTPUT_MODES)
    return load_card(settings, features, datetime.now(UTC))


def _input_modes(settings: Settings) -> tuple[str, ...]:
    """Add images, unless it is the embedded stack that answers without a language model."""
    sees_nothing = settings.is_embedded and not settings.openai.is_set
    return INPUT_MODES if sees_nothing else (*INPUT_MODES, "image/*")


def _routes(endpoint: JsonRpc, card: Card) -> list[BaseRoute]:
    # A slash at the end is forgiven without a redirect, which many clients do not follow for POST.
    rpc = [Route(path, endpoint, methods=["POST"]) for path in ("/a2a", "/", "/a2a/")]
    cards = ("/.well-known/agent-card.json", "/.well-known/agent.json", "/a2a", "/a2a/")

    async def show_card(request: Request) -> Response:
        return card_response(request, card)

    return [*rpc, *(Route(path, show_card, methods=["GET"]) for path in cards)]


def _connect_args(state: A2AState) -> dict[str, Any]:
    """Say in asyncpg's words what LCS calls namespace, ssl_mode and ca_cert_path."""
    if state.postgres is None:
        return {}
    server = state.postgres
    tls: str | ssl.SSLContext = server.ssl_mode
    if server.ca_cert_path is not None and server.ssl_mode != "disable":
        tls = ssl.create_default_context(cafile=server.ca_cert_path)
        tls.check_hostname = server.ssl_mode == "verify-full"
    namespace = {"search_path": server.namespace} if server.namespace else {}
    return {"ssl": tls, "server_settings": namespace}


def make_authenticator(settings: Settings) -> Authenticator:
    """Return what tells who calls. Raises ``SettingsError``: better no server than an open one."""
    module = settings.authentication.module
    if module != "noop":
        raise SettingsError("authentication.module", f"{module} is not supported by this version")
    if settings.authorization is not None and settings.authorization.access_rules:
        raise SettingsError("authorization.access_rules", "not supported by this version")
    return Noop()
