"""Connections to checked addresses only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpcore

from agent.outgoing.guard import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from httpcore import AsyncNetworkStream

    from agent.outgoing.guard import Guard


class AddressRefused(httpcore.ConnectError):
    """The host has no address, or one that is not called."""


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves a host once, checks what comes of it, and connects to that and to nothing else.

    TLS goes on with the name of the host: who answers must have a certificate for it.
    """

    def __init__(self, guard: Guard) -> None:
        """Keep the guard."""
        self._guard = guard
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """See ``AsyncNetworkBackend``: addresses are tried in the resolver's order."""
        try:
            addresses = await self._guard.addresses(host, port)
        except Refused as exc:
            raise AddressRefused from exc
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(
            addresses[-1], port, timeout, local_address, socket_options
        )
