"""The composition root: the only place that constructs things, and the order in which they open and close."""

from __future__ import annotations

import logging
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

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
from agent.audit import Audit
from agent.auth.access import Access
from agent.auth.attempts import Attempts
from agent.auth.choice import make_authenticator
from agent.auth.gate import Gate
from agent.auth.warning import warnings_of
from agent.cancellation import Cancellation
from agent.card import KEY_SET, Card, load_card
from agent.card_features import features_of
from agent.card_http import card_response, key_set_response
from agent.conversations import Conversations
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
from agent.quotas.quotas import Quotas
from agent.recovery import Recovery
from agent.repeats import Repeats
from agent.retention import Retention
from agent.rpc_answer import failure, unexpected
from agent.runner import Runner
from agent.service import Parts, Service
from agent.settings.databases import A2AState
from agent.settings.unused import unused
from agent.signing import signing_key
from agent.stacks.choice import choose_stack
from agent.stacks.mcp_headers import doubts
from agent.state import State
from agent.task_page import TaskList
from agent.transport.application import Application, Straight

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

    from a2a_state.database import Database
    from agent.grpc_binding.server import GrpcServer
    from agent.settings import Settings
    from agent.stacks.base import Stack

logger = logging.getLogger(__name__)

# A slash at the end is forgiven without a redirect, which many clients do not follow for POST.
RPC_PATHS = ("/a2a", "/", "/a2a/")

DRAIN, STOP, LIMITS = "drain", "stop", "limits"
"""Keys of the lifespan's state. ``DRAIN``: a coroutine function that takes seconds, in which tasks that
run may end while no new ones begin; ``STOP``: one that stops the tasks that run; ``LIMITS``: those of
the settings, for whoever speaks HTTP."""


def create_app(settings: Settings, started: datetime | None = None) -> Starlette:
    """Return the whole server; nothing is opened before its lifespan. Raises ``SettingsError``."""
    database = make_database(settings)
    stack_name, stack = choose_stack(settings, database)
    state = make_state(settings, database)
    conversations = Conversations(stack, stack_name, Contexts(database))
    push = Push(settings, database, state.tasks, signing_key(settings))
    # What is only in memory ends with the process.
    hands_over = settings.a2a.recovery != "fail" and not database.in_memory
    quotas = make_quotas(settings, database)
    runner = Runner(
        conversations, state, push, settings.limits, hands_over=hands_over, quotas=quotas
    )
    recovery = Recovery(settings, state, runner, conversations)
    retention = Retention(database, settings.retention)
    card = make_card(settings, started)
    service = make_service(settings, database, state, runner, conversations, push, card.input_modes)
    operations = Operations(service, card, Extensions(settings.a2a.extensions), state.audit)
    gate = make_gate(settings, state.audit)
    endpoint = JsonRpc(operations, gate, settings)
    http_json = HttpJsonRoute(operations, gate, settings)
    grpc = make_grpc(settings, operations, gate)
    parts = (gate, stack, retention, push, quotas)
    lifespan = partial(_lifespan, settings, database, state, parts, runner, recovery, grpc)

    app = Application(
        settings,
        routes=[*_routes(endpoint, card), http_json],
        middleware=[Middleware(Straight, endpoint, RPC_PATHS, settings.service.root_path)],
        exception_handlers={Exception: _broken},
        lifespan=lambda _app: lifespan(),
    )
    # A redirect names the host that the caller has named.
    app.router.redirect_slashes = False
    # What nobody else claims is REST's, and be it to say that there is nothing.
    app.router.default = make_rest(settings, gate, stack, database)
    return app


@asynccontextmanager
async def _lifespan(
    settings: Settings,
    database: Database,
    state: State,
    parts: Iterable[_Part | None],
    runner: Runner,
    recovery: Recovery,
    grpc: GrpcServer | None,
) -> AsyncIterator[dict[str, Any]]:
    """Open everything in order, and close it in reverse."""
    _warn(settings)
    async with AsyncExitStack() as opened:
        if state.audit is not None:
            opened.enter_context(state.audit)
        opened.push_async_callback(database.close)
        await database.open()
        await migrate(database)
        await state.journal.open()
        opened.push_async_callback(state.journal.close)
        for part in parts:
            await _open(opened, part)
        opened.push_async_callback(runner.close)
        opened.push_async_callback(recovery.close)
        await recovery.open()
        if grpc is not None:
            await opened.enter_async_context(grpc.serving(runner.close))
        yield {DRAIN: runner.drain, STOP: runner.close, LIMITS: settings.limits}


def _warn(settings: Settings) -> None:
    """Tell what is asked for and does not happen, and what is open that should perhaps be closed."""
    if names := unused(settings):
        logger.warning("Settings that this version does not act on: %s", ", ".join(names))
    for doubt in (*doubts(settings), *warnings_of(settings)):
        logger.warning("%s", doubt)


class _Part(Protocol):
    async def open(self) -> None: ...

    async def close(self) -> None: ...


async def _open(opened: AsyncExitStack, part: _Part | None) -> None:
    """Open a part of the server, which is closed whatever comes of that."""
    if part is not None:
        opened.push_async_callback(part.close)
        await part.open()


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
    pages, deletion = TaskList(database, settings.limits.answer_bytes), Deletion(database)
    parts = Parts(runner, messages, repeats, cancellation, pages, deletion, push)
    return Service(settings, state, parts)


async def _broken(_request: Request, exc: Exception) -> Response:
    """Answer for a fault of ours outside any method; the log has the rest."""
    error = unexpected(exc, LATEST)
    return Response(failure(None, error), 500, media_type="application/json")


def make_database(settings: Settings) -> Database:
    """Return the configured database; nothing is opened."""
    return _database(settings.a2a_state)


def make_quotas(settings: Settings, state: Database) -> Quotas | None:
    """Return the quotas, in a database of their own or in that of the state; None where none are."""
    handlers = settings.quota_handlers
    if not handlers.limiters and not handlers.enable_token_history:
        return None
    if handlers.sqlite is None and handlers.postgres is None:
        return Quotas(settings, state)
    own = A2AState(sqlite=handlers.sqlite, postgres=handlers.postgres)
    return Quotas(settings, _database(own), own=True)


def _database(where: A2AState) -> Database:
    return connect(where.url, _connect_args(where))


def make_state(settings: Settings, database: Database) -> State:
    """Return what is remembered there, and the audit log if there is one."""
    holder = Holder(settings.a2a.lease_seconds)
    audit = Audit(settings.audit.path) if settings.audit.enabled else None
    return State(Journal(database), Tasks(database), MessageKeys(database), holder, audit)


def make_card(settings: Settings, started: datetime | None = None) -> Card:
    """Return the agent card, computed from what this server does. Raises ``SettingsError``."""
    return load_card(settings, features_of(settings), started or datetime.now(UTC))


def _routes(endpoint: JsonRpc, card: Card) -> list[BaseRoute]:
    rpc = [Route(path, endpoint, methods=["POST"]) for path in RPC_PATHS]
    cards = ("/.well-known/agent-card.json", "/.well-known/agent.json", "/a2a")

    async def show_card(request: Request) -> Response:
        return card_response(request, card)

    async def show_key_set(request: Request) -> Response:
        return key_set_response(request, card)

    return [
        *rpc,
        *(Route(path + end, show_card, methods=["GET"]) for path in cards for end in ("", "/")),
        *(Route(KEY_SET + end, show_key_set, methods=["GET"]) for end in ("", "/")),
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


def make_rest(settings: Settings, gate: Gate, stack: Stack, database: Database) -> ASGIApp:
    """Return the REST layer."""
    # FastAPI takes a fifth of a second, which commands that serve nothing do not spend.
    from rest_compat.lightspeed.app import make_lightspeed
    from rest_compat.lightspeed.health import Providers

    return make_lightspeed(settings, gate, Providers(stack, database))


def make_gate(settings: Settings, audit: Audit | None = None) -> Gate:
    """Return the way in. Raises ``SettingsError``."""
    rules = settings.authorization.access_rules if settings.authorization else ()
    return Gate(make_authenticator(settings), Access(rules), Attempts(settings.limits), audit)
