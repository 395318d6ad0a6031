"""A TCP proxy whose connections break when a test wants them to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator


class Proxy:
    """Forwards to ``target``; the first connection that answers with ``cut_after`` breaks there.

    ``cut`` is set then; ``taken_up`` when the next request comes.
    """

    def __init__(self, target: str, cut_after: bytes) -> None:
        """Take a target ``http://HOST:PORT``."""
        self._target = urlsplit(target)
        self._cut_after = cut_after
        self.cut = asyncio.Event()
        self.taken_up = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        there, here = await asyncio.open_connection(self._target.hostname, self._target.port)
        sending = asyncio.create_task(self._send(reader, here))
        try:
            while chunk := await there.read(65536):
                writer.write(chunk)
                await writer.drain()
                if self._cut_after in chunk and not self.cut.is_set():
                    self.cut.set()
                    break
        except ConnectionError:
            pass  # one of the two has gone
        finally:
            sending.cancel()
            here.close()
            writer.close()

    async def _send(self, reader: asyncio.StreamReader, here: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            if self.cut.is_set():
                self.taken_up.set()
            here.write(chunk)
            await here.drain()
        here.write_eof()


@asynccontextmanager
async def proxying(
    listening: tuple[socket.socket, str], target: str, cut_after: bytes
) -> AsyncIterator[Proxy]:
    """Forward what comes in at ``listening`` to ``target``."""
    proxy = Proxy(target, cut_after)
    server = await asyncio.start_server(proxy.handle, sock=listening[0])
    try:
        yield proxy
    finally:
        server.close()
