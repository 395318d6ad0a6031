"""A real HTTP server around any ASGI application."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path


class _Server(uvicorn.Server):
    """Says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            raise RuntimeError("the application did not start: its lifespan failed") from None
        self.up.set()


def listen() -> tuple[socket.socket, str]:
    """Take a free loopback port; returns the socket and ``http://HOST:PORT``."""
    listener = socket.create_server(("127.0.0.1", 0))
    # asyncio does so for sockets that it makes: else each answer waits for the client's kernel, 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def run_server(
    app: Any,
    listening: tuple[socket.socket, str] | None = None,
    http: Any = "auto",
    certificate: Path | None = None,
    proxies: Sequence[str] = (),
) -> AsyncIterator[str]:
    """Serve ``app``, with its lifespan, on a loopback port; yields ``http://HOST:PORT``.

    ``listening`` is what ``listen`` returned, for an application that must know its address.
    ``http`` is uvicorn's setting. A ``certificate``, whose file holds the key too, makes it HTTPS.
    ``proxies`` are those whose ``X-Forwarded-For`` is believed.
    Requests that still run when the block is left have two seconds to end.
    """
    listener, url = listening or listen()
    with listener:
        config = uvicorn.Config(
            app,
            lifespan="on",
            http=http,
            log_level="warning",
            timeout_graceful_shutdown=2,
            ssl_certfile=certificate,
            forwarded_allow_ips=list(proxies),
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve([listener]))
        up = asyncio.create_task(server.up.wait())
        await asyncio.wait({serving, up}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        try:
            if server.started:
                yield url.replace("http:", "https:") if certificate else url
        finally:
            server.should_exit = True
            await serving
