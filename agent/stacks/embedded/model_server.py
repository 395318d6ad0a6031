"""HTTP to a server that speaks OpenAI's API: JSON, and streams of events.

Not with OpenAI's client: its models of what goes in and out cost more than all the rest of a turn, and
importing it takes a second.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, asynccontextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from agent.stacks.embedded.chat_stream import DONE, EventReader
from agent.stacks.embedded.inference_errors import ServerRefused

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    import httpx

    from agent.settings.own import OpenAI
    from agent.stacks.turn import Json

OPENAI_URL = "https://api.openai.com/v1"
ANSWER_BYTES = 256 * 1024 * 1024
"""Most bytes of an answer that is no stream: 128 embeddings are some megabytes."""
REFUSAL_BYTES = 64 * 1024
"""How much is read of why the server refuses."""

_CONNECT_SECONDS = 10.0
_DRAIN_SECONDS = 0.1
_CONNECTIONS, _KEPT = 1000, 100


class ModelServer:
    """Calls of one server, over connections that are kept.

    Errors leave as ``httpx`` has them, or as ``ServerRefused``: see ``inference_errors.translating``.
    """

    def __init__(self, server: OpenAI, seconds: float) -> None:
        """Connect to nothing; ``seconds`` bounds the wait for the next bytes of an answer."""
        self._server = server
        self._seconds = seconds
        self._client: httpx.AsyncClient | None = None

    async def get(self, path: str, seconds: float) -> bytes:
        """Return what the server has at a path; ``seconds`` bounds the wait for each part of it."""
        async with self._answered("GET", path, None, seconds) as response:
            return await _read(response)

    async def post(self, path: str, body: Json) -> bytes:
        """Return what the server answers."""
        async with self._answered("POST", path, body, self._seconds) as response:
            return await _read(response)

    async def stream(self, path: str, body: Json) -> AsyncGenerator[bytes]:
        """Yield the data of each event that the server answers with, up to the last one."""
        reader = EventReader()
        async with (
            self._answered("POST", path, body, self._seconds) as response,
            aclosing(_pieces(response)) as pieces,
        ):
            async for piece in pieces:
                for data in reader.feed(piece):
                    if data.startswith(DONE):
                        await _drain(pieces)
                        return
                    yield data

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    @asynccontextmanager
    async def _answered(
        self, method: str, path: str, body: Json, seconds: float
    ) -> AsyncIterator[httpx.Response]:
        client = self._client or await self._connect()
        content = None if body is None else _encode(body)
        connecting = min(seconds, _CONNECT_SECONDS)
        timeout = {"connect": connecting, "read": seconds, "write": seconds, "pool": seconds}
        request = client.build_request(
            method, path, content=content, extensions={"timeout": timeout}
        )
        response = await client.send(request, stream=True)
        try:
            if not response.is_success:
                raise ServerRefused(response.status_code, await _refusal(response))
            yield response
        finally:
            await response.aclose()

    async def _connect(self) -> httpx.AsyncClient:
        # Importing takes a while, in which others want to be served.
        library: Any = await asyncio.to_thread(import_module, "httpx")
        if self._client is None:
            key = self._server.api_key
            self._client = library.AsyncClient(
                base_url=self._server.base_url or OPENAI_URL,
                headers={
                    # servers of one's own want none, and some want any
                    "Authorization": f"Bearer {key.get_secret_value() if key else 'none'}",
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                    "User-Agent": "llamastack-a2a",
                },
                follow_redirects=True,
                limits=library.Limits(
                    max_connections=_CONNECTIONS, max_keepalive_connections=_KEPT
                ),
            )
        client: httpx.AsyncClient = self._client
        return client


def _encode(body: Json) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _pieces(response: httpx.Response) -> AsyncGenerator[bytes]:
    return cast("AsyncGenerator[bytes]", response.aiter_bytes())


async def _read(response: httpx.Response) -> bytes:
    """Return the whole of an answer; raises ``ValueError`` for one too large."""
    read = bytearray()
    async for piece in _pieces(response):
        read += piece
        if len(read) > ANSWER_BYTES:
            raise ValueError("an answer is too large")
    return bytes(read)


async def _refusal(response: httpx.Response) -> str:
    """Return what the server says of an error, as far as it is read."""
    read = b""
    async with aclosing(_pieces(response)) as pieces:
        async for piece in pieces:
            read += piece
            if len(read) >= REFUSAL_BYTES:
                break
    text = read.decode(errors="replace").strip()
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return str(said.get("error", said) if isinstance(said, dict) else said)


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    """Read to the end of what is over, so that its connection can be used again."""
    import httpx  # it is imported by now

    # What goes wrong is no matter: the answer is there, and the connection is closed.
    with suppress(TimeoutError, httpx.RequestError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in pieces:
                pass
