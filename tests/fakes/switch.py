"""A way to a server that a test opens and shuts."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.fakes.server import listen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Switch:
    """Forwards to a port of this machine while it is ``on``; ``knocks`` counts who came in vain."""

    def __init__(self, target: int, *, on: bool) -> None:
        """``target`` is a port."""
        self.on = on
        self.knocks = 0
        self.port = 0
        self._target = target
        self._knocked = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()

    def shut(self) -> None:
        """Break all connections, and let nobody in."""
        self.on = False
        for writer in self._open:
            writer.transport.abort()

    async def knocked(self, times: int) -> None:
        """Wait until so many came in vain."""
        while self.knocks < times:
            self._knocked.clear()
            await self._knocked.wait()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        if not self.on:
            self.knocks += 1
            self._knocked.set()
            writer.transport.abort()
            return
        there, here = await asyncio.open_connection("127.0.0.1", self._target)
        self._open |= {writer, here}
        sending = asyncio.create_task(_forward(reader, here))
        await _forward(there, writer)
        sending.cancel()
        self._open -= {writer, here}


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass  # one of the two has gone
    finally:
        writer.close()


@asynccontextmanager
async def switch(target: int, *, on: bool = True) -> AsyncIterator[Switch]:
    """Run a switch on a loopback port, which it knows as ``port``."""
    listener, url = listen()
    switching = Switch(target, on=on)
    switching.port = int(url.rpartition(":")[2])
    server = await asyncio.start_server(switching.handle, sock=listener)
    try:
        yield switching
    finally:
        switching.shut()
        server.close()
