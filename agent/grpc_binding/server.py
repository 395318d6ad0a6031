"""The gRPC server: its port, its limits, and how it stops."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc

from agent.errors import SettingsError
from agent.grpc_binding.calls import Calls
from agent.grpc_binding.rpcs import protocols
from agent.transport.tls import read_key_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from agent.auth.gate import Gate
    from agent.operations import Operations
    from agent.settings import Settings
    from agent.settings.lcs import Tls

logger = logging.getLogger(__name__)

END_SECONDS = 2.0
"""How long calls have, when the tasks are stopped, to hear of it."""

METADATA_BYTES = 64 * 1024
"""As much as the head of an HTTP request may have."""

# How long a connection stays without a call.
IDLE_MILLISECONDS = 65_000
# Callers that keep a quiet connection alive may ping as often as this; grpc's own bound is five minutes.
_PING_MILLISECONDS = 10_000


class GrpcServer:
    """``A2AService`` of both versions on one port."""

    def __init__(self, settings: Settings, operations: Operations, gate: Gate) -> None:
        """Nothing listens before ``serving``. Raises ``SettingsError`` when the TLS key cannot be read."""
        self._address = _address(settings)
        self._credentials = _credentials(settings.service.tls_config)
        self._options = _options(settings)
        self._most_calls = settings.limits.connections
        self._drain_seconds = settings.a2a.drain_seconds
        self._handlers = [
            Calls(protocol, operations, gate, settings).handlers() for protocol in protocols()
        ]

    @asynccontextmanager
    async def serving(self, stop_tasks: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Listen; raises ``SettingsError`` when the port cannot be had.

        In the end no more calls are taken, and those that run have ``a2a.drain_seconds``. What still
        runs then waits for tasks, which ``stop_tasks`` ends.
        """
        server = grpc.aio.server(options=self._options, maximum_concurrent_rpcs=self._most_calls)
        server.add_generic_rpc_handlers(self._handlers)
        try:
            self._listen(server)
            await server.start()
        except BaseException:
            await server.stop(None)
            raise
        logger.info("gRPC on %s", self._address)
        try:
            yield
        finally:
            # Told once: a second call of ``stop`` while the first one waits can block the event loop.
            stopping = asyncio.create_task(server.stop(self._drain_seconds + END_SECONDS))
            await asyncio.wait({stopping}, timeout=self._drain_seconds)
            await stop_tasks()
            await stopping

    def _listen(self, server: grpc.aio.Server) -> None:
        try:
            if self._credentials is None:
                server.add_insecure_port(self._address)
            else:
                server.add_secure_port(self._address, self._credentials)
        except RuntimeError as exc:
            raise SettingsError("a2a.grpc_port", f"cannot listen on {self._address}") from exc


def _address(settings: Settings) -> str:
    host = settings.service.host
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{host}:{settings.a2a.grpc_port}"


def _options(settings: Settings) -> list[tuple[str, int]]:
    keep_alive = max(int(settings.a2a.keep_alive_seconds * 1000), _PING_MILLISECONDS)
    return [
        ("grpc.max_receive_message_length", settings.limits.body_bytes),
        ("grpc.max_send_message_length", -1),
        # Below the first grpc takes all, above the second none, and between them some, by chance.
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES),
        ("grpc.max_allowed_incoming_connections", settings.limits.connections),
        ("grpc.max_connection_idle_ms", IDLE_MILLISECONDS),
        ("grpc.server_handshake_timeout_ms", int(settings.limits.head_seconds * 1000) or 1),
        # Several processes share a port only if all say so; one alone would rather know that it is taken.
        ("grpc.so_reuseport", int(settings.service.workers > 1)),
        ("grpc.keepalive_time_ms", keep_alive),
        ("grpc.http2.min_ping_interval_without_data_ms", _PING_MILLISECONDS),
    ]


def _credentials(tls: Tls) -> grpc.ServerCredentials | None:
    """Return those of HTTPS, if there are any; grpc knows nothing of passwords."""
    pair = read_key_pair(tls)
    return None if pair is None else grpc.ssl_server_credentials([pair])
