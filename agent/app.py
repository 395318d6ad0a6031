"""The composition root: the only place that constructs things, and the order in which they open and close."""

from __future__ import annotations

import logging
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from a2a_state.contexts import Contexts
from a2a_state.database import connect
from a2a_state.deletion import Deletion
from a2a_state.journal import Journal
from a2a_state.message_keys import MessageKeys
from a2a_state.migrate import migrate
from a2a_state.tasks import Tasks
from agent.auth.noop import Noop
from agent.cancellation import Cancellation
from agent.card import KEY_SET, Card, load_card
from agent.card_dialects import Features
from agent.card_http import card_response, key_set_response
from agent.conversations import Conversations
from agent.errors import SettingsError
from agent.extensions import Extensions
from agent.follow_up import FollowUps
from agent.grpc_binding import make_grpc
from agent.http_json.routes import HttpJsonRoute
from agent.idempotency import Idempotency
from agent.jsonrpc import LATEST, JsonRpc
from agent.lease import Holder
from agent.message_check import MessageCheck
from agent.messages import Messages
from agent.operations import Operations
from agent.push.push import Push
from agent.recovery import Recovery
from agent.repeats import Repeats
from agent.retention import Retention
from agent.rpc_answer import failure, unexpected
from agent.runner import Runner
from agent.service import Parts, Service
from agent.settings.unused import unused
from agent.signing import signing_key
from agent.stacks.choice import choose_stack
from agent.state import State
from agent.task_page import TaskList

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

    from a2a_state.database import Database
    from agent.auth.base import Authenticator
    from agent.settings import Settings
    from agent.settings.databases import A2AState

logger = logging.getLogger(__name__)

# What every stack of ours takes and makes; a stack may refuse a message all the same.
INPUT_MODES = ("text/plain", "text/markdown", "application/json", "application/yaml")
OUTPUT_MODES = ("text/plain", "application/json")


# A slash at the end is forgiven without a redirect, which many clients do not follow for POST.
RPC_PATHS = ("/a2a", "/", "/a2a/")

DRAIN, STOP = "drain", "stop"
"""Keys of the lifespan's state. ``DRAIN``: a coroutine function that takes seconds, in which tasks that
run may end while no new ones begin; ``STOP``: one that stops the tasks that run."""


def create_app(settings: Settings, started: datetime | None = None) -> Starlette:
    """Return the whole server; nothing is opened before its lifespan. Raises ``SettingsError``."""
    database = make_database(settings)
    stack_name, stack = choose_stack(settings, database)
    journal = Journal(database)
    holder = Holder(settings.a2a.lease_seconds)
    state = State(journal, Tasks(database), MessageKeys(database), holder)
    conversations = Conversations(stack, stack_name, Contexts(database))
    push = Push(settings, database, state.tasks, signing_key(settings))
    # What is only in memory ends with the process.
    hands_over = settings.a2a.recovery != "fail" and not database.in_memory
    runner = Runner(conversations, state, push, settings.limits, hands_over=hands_over)
    recovery = Recovery(settings, state, runner, conversations)
    retention = Retention(database, settings.retention)
    card = make_card(settings, started)
    service = make_service(settings, database, state, runner, conversations, push, card.input_modes)
    operations = Operations(service, card, Extensions(settings.a2a.extensions))
    authenticator = make_authenticator(settings)
    endpoint = JsonRpc(operations, authenticator, settings)
    http_json = HttpJsonRoute(operations, service, authenticator, settings)
    grpc = make_grpc(settings, operations, authenticator)

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
            opened.push_async_callback(retention.close)
            await retention.open()
            opened.push_async_callback(push.close)
            await push.open()
            opened.push_async_callback(runner.close)
            opened.push_async_callback(recovery.close)
            await recovery.open()
            if grpc is not None:
                await opened.enter_async_context(grpc.serving(runner.close))
            yield {DRAIN: runner.drain, STOP: runner.close}

    return Starlette(
        routes=[*_routes(endpoint, card), http_json],
        middleware=[Middleware(_Straight, endpoint=endpoint)],
        exception_handlers={Exception: _broken},
        lifespan=lifespan,
    )


class _Straight:
    """Takes JSON-RPC past the router, which would cost a tenth of a call."""

    def __init__(self, app: ASGIApp, endpoint: JsonRpc) -> None:
        self._app = app
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in RPC_PATHS:
            await self._endpoint(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def make_service(
    settings: Settings,
    database: Database,
    state: State,
    runner: Runner,
    conversations: Conversations,
    push: Push,
    input_modes: tuple[str, ...],
) -> Service:
    """Return the operations, on what runs them."""
    idempotency = Idempotency(state.journal, state.keys)
    repeats = Repeats(idempotency, state, runner)
    follow_ups = FollowUps(settings, state, runner)
    check = MessageCheck(settings.limits, input_modes)
    messages = Messages(check, state, runner, idempotency, repeats, follow_ups, push)
    cancellation = Cancellation(state, runner, conversations)
    pages, deletion = TaskList(database), Deletion(database)
    parts = Parts(runner, messages, repeats, cancellation, pages, deletion, push)
    return Service(settings, state, parts)


async def _broken(_request: Request, exc: Exception) -> Response:
    """Answer for a fault of ours outside any method; the log has the rest."""
    error = unexpected(exc, LATEST)
    return Response(failure(None, error), 500, media_type="application/json")


def make_database(settings: Settings) -> Database:
    """Return the configured database; nothing is opened."""
    state = settings.a2a_state
    return connect(state.url, _connect_args(state))


def make_card(settings: Settings, started: datetime | None = None) -> Card:
    """Return the agent card, computed from what this server does. Raises ``SettingsError``."""
    features = Features(
        input_modes=_input_modes(settings),
        output_modes=OUTPUT_MODES,
        http_json=True,
        grpc_url=_grpc_url(settings),
        push_notifications=settings.push.enabled,
        # What a stack of one's own takes is for its card to say.
        takes_any=settings.stack is not None,
        extended_card=settings.a2a.extended_card_path is not None,
        extensions=[extension.on_card for extension in settings.a2a.extensions],
    )
    return load_card(settings, features, started or datetime.now(UTC))


def _grpc_url(settings: Settings) -> str | None:
    """Name the gRPC interface as gRPC's clients want it: ``HOST:PORT``."""
    if settings.a2a.grpc_port is None:
        return None
    host = urlsplit(settings.service.public_url).hostname or settings.service.host
    host = f"[{host}]" if ":" in host else host
    return settings.a2a.grpc_url or f"{host}:{settings.a2a.grpc_port}"


def _input_modes(settings: Settings) -> tuple[str, ...]:
    """Add images, unless it is the embedded stack that answers without a language model."""
    sees_nothing = settings.is_embedded and not settings.openai.is_set
    return INPUT_MODES if sees_nothing else (*INPUT_MODES, "image/*")


def _routes(endpoint: JsonRpc, card: Card) -> list[BaseRoute]:
    rpc = [Route(path, endpoint, methods=["POST"]) for path in RPC_PATHS]
    cards = ("/.well-known/agent-card.json", "/.well-known/agent.json", "/a2a", "/a2a/")

    async def show_card(request: Request) -> Response:
        return card_response(request, card)

    async def show_key_set(request: Request) -> Response:
        return key_set_response(request, card)

    return [
        *rpc,
        *(Route(path, show_card, methods=["GET"]) for path in cards),
        Route(KEY_SET, show_key_set, methods=["GET"]),
    ]


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
