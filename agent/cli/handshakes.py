"""uvicorn's settings, and one that it lacks: how long a TLS handshake may take."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, override

from uvicorn import Config

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Server
    from collections.abc import Awaitable, Callable


class HandshakeConfig(Config):
    """Has connections closed whose handshake takes longer than ``handshake_seconds``, or their goodbye.

    The event loop would wait for a minute, and tells the protocol of a connection only afterwards:
    so it is the loop that is told, also that of each worker process, which these settings reach.
    """

    def __init__(self, app: Any, *, handshake_seconds: float, **options: Any) -> None:
        """``options`` are those of uvicorn."""
        super().__init__(app, **options)
        self._handshake_seconds = handshake_seconds

    @override
    def get_loop_factory(self) -> Callable[[], AbstractEventLoop]:
        make = super().get_loop_factory()
        if make is None:
            raise TypeError("uvicorn has no event loop of its own")
        return partial(_hurried, make, self._handshake_seconds) if self.is_ssl else make


def _hurried(make: Callable[[], AbstractEventLoop], seconds: float) -> AbstractEventLoop:
    """Make a loop whose servers wait no longer."""
    loop = make()
    create: Callable[..., Awaitable[Server]] = loop.create_server

    async def create_server(*given: Any, **named: Any) -> Server:
        if named.get("ssl"):
            named |= {"ssl_handshake_timeout": seconds, "ssl_shutdown_timeout": seconds}
        return await create(*given, **named)

    # The class may be that of uvloop, which is not Python's to extend.
    loop.create_server = create_server  # type: ignore[method-assign]
    return loop
