"""A server of documents, one for each path."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


class Library:
    """Answers each path with the bytes it has for it, the head of HTTP among them, and remembers requests."""

    def __init__(self, answers: Mapping[str, bytes]) -> None:
        """``answers`` are whole responses; after one the connection stays open until the client leaves."""
        self.answers = dict(answers)
        self.requests: list[bytes] = []
        self.url = ""
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Say the last chunk of what has been begun."""
        self._ended.set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request."""
        # Who has heard enough leaves.
        with suppress(ConnectionError):
            request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request)
            path = request.split(b" ", 2)[1].decode()
            writer.write(self.answers.get(path, answer(b"", "404 Not Found")))
            await writer.drain()
            leaves = asyncio.ensure_future(reader.read())
            ends = asyncio.ensure_future(self._ended.wait())
            await asyncio.wait({leaves, ends}, return_when=asyncio.FIRST_COMPLETED)
            if ends.done():
                writer.write(b"0\r\n\r\n")
                await writer.drain()
            leaves.cancel()
            ends.cancel()
        writer.close()


def answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """Return a response; the names of headers have underscores."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def serve_documents(answers: Mapping[str, bytes]) -> AsyncIterator[Library]:
    """Serve on a loopback port."""
    library = Library(answers)
    server = await asyncio.start_server(library, "127.0.0.1", 0)
    async with server:
        library.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield library
