"""The databases of the settings: made here, opened and closed by the composition root."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from a2a_state.database import connect
from agent.quotas.quotas import Quotas
from agent.settings.databases import A2AState

if TYPE_CHECKING:
    from a2a_state.database import Database
    from agent.settings import Settings


def make_database(settings: Settings) -> Database:
    """Return the configured database; nothing is opened."""
    return connect_to(settings.state)


def make_quotas(settings: Settings, state: Database) -> Quotas | None:
    """Return the quotas, in a database of their own or in that of the state; None where none are."""
    handlers = settings.quota_handlers
    if not handlers.limiters and not handlers.enable_token_history:
        return None
    if handlers.sqlite is None and handlers.postgres is None:
        return Quotas(settings, state)
    own = A2AState(sqlite=handlers.sqlite, postgres=handlers.postgres)
    return Quotas(settings, connect_to(own), own=True)


def connect_to(where: A2AState) -> Database:
    """Return the database of a section; nothing is opened."""
    return connect(where.url, _connect_args(where))


def _connect_args(state: A2AState) -> dict[str, Any]:
    """Say in asyncpg's words what LCS calls namespace, ssl_mode and ca_cert_path."""
    if state.postgres is None:
        return {}
    server = state.postgres
    tls: str | ssl.SSLContext = server.ssl_mode
    if server.ca_cert_path is not None and server.ssl_mode != "disable":
        tls = ssl.create_default_context(cafile=server.ca_cert_path)
        tls.check_hostname = server.ssl_mode == "verify-full"
    namespace = {"search_path": _quoted(server.namespace)} if server.namespace else {}
    return {"ssl": tls, "server_settings": namespace}


def _quoted(name: str) -> str:
    """Write the name of a schema as a list of one: it may hold anything."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
