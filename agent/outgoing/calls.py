"""Connections to what a guard lets through, for one call each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpcore
import httpx

from agent.outgoing.guard import port_of
from agent.outgoing.network import GuardedNetwork

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from agent.outgoing.guard import Guard


class Calls:
    """Calls checked addresses, and uses no proxy.

    httpcore and not a client of httpx, which logs every URL: a webhook's may be a secret. Connections
    are not kept, so that every call is checked anew.
    """

    def __init__(self, guard: Guard, connections: int, tls: ssl.SSLContext | None = None) -> None:
        """Nothing is opened; ``connections`` is how many there are at once."""
        self._guard = guard
        self._connections = connections
        self._tls = tls
        self._opened: httpcore.AsyncConnectionPool | None = None

    async def close(self) -> None:
        """Close every connection."""
        if self._opened is not None:
            await self._opened.aclose()

    async def call(
        self,
        method: str,
        url: httpx.URL,
        headers: Sequence[tuple[str, str]],
        body: bytes = b"",
        read_seconds: float | None = None,
    ) -> AbstractAsyncContextManager[httpcore.Response]:
        """Return the call, which is made when it is entered; ``url`` is one that the guard has parsed.

        Nothing else bounds its time. Entering and reading raise what httpcore does.
        """
        target = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=port_of(url), target=url.raw_path
        )
        own = [("Host", url.netloc.decode("ascii"))]
        if body:
            own.append(("Content-Length", str(len(body))))
        pool = await self._pool()
        timeouts = {} if read_seconds is None else {"read": read_seconds}
        return pool.stream(
            method,
            target,
            headers=[*own, *headers],
            content=body or None,
            extensions={"timeout": timeouts},
        )

    async def _pool(self) -> httpcore.AsyncConnectionPool:
        if self._opened is None:
            # Reading the certificates takes a while, and most servers never call anybody.
            tls = self._tls or await asyncio.to_thread(httpx.create_ssl_context)
            self._opened = self._opened or httpcore.AsyncConnectionPool(
                ssl_context=tls,
                max_connections=self._connections,
                max_keepalive_connections=0,
                network_backend=GuardedNetwork(self._guard),
            )
        return self._opened
