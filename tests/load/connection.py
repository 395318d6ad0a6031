"""One HTTP/1.1 connection of the load generator."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from collections.abc import Mapping


class WrongAnswerError(Exception):
    """The server broke the connection, HTTP or the protocol, or said something else."""


class Connection(asyncio.Protocol):
    """Keeps its socket from one request to the next; opens it again after an error."""

    def __init__(self, port: int) -> None:
        """Nothing is opened."""
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes] | None = None

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """Send one request of JSON and return the body of the answer.

        Raises ``WrongAnswerError`` unless that is a whole HTTP 200.
        """
        loop = asyncio.get_running_loop()
        if self._transport is None:
            self._transport, _ = await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        self._answer = loop.create_future()
        lines = [
            f"POST {path} HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self._transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        return await self._answer

    def close(self) -> None:
        """Close the socket; the next request opens one again."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    # What the event loop calls.

    def connection_made(self, _transport: asyncio.BaseTransport) -> None:
        """Begin to read answers."""
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._fail(f"not HTTP: {exc}")

    def connection_lost(self, _exc: Exception | None) -> None:
        """Give up the answer that was being read."""
        self._transport = None
        self._fail("the connection was lost before the answer had ended")

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin an answer."""
        self._chunks: list[bytes] = []

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """Hand the answer over."""
        body = b"".join(self._chunks)
        status = self._parser.get_status_code()
        if status != 200:
            self._fail(f"HTTP {status}: {body[:200]!r}")
        elif self._answer is not None and not self._answer.done():
            self._answer.set_result(body)

    def _fail(self, problem: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(WrongAnswerError(problem))
