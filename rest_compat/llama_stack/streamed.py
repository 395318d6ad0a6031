"""A turn as it is made: told as server-sent events, or waited for."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, override

import msgspec
from starlette.responses import Response

from agent.errors import AgentError, InvalidAgentResponse
from agent.sse import KEEP_ALIVE, while_heard
from rest_compat.llama_stack.problems import error_chunk, problem_of
from rest_compat.problems import unexpected

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from starlette.types import Receive, Scope, Send

    from agent.agents.base import Json, TurnStream

_HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    # Proxies such as nginx would otherwise collect the stream before they pass it on.
    "X-Accel-Buffering": "no",
}
_ENDS = frozenset({"turn_complete", "turn_awaiting_input"})
_encode = msgspec.json.Encoder().encode


async def collected(stream: TurnStream) -> Json:
    """Return the turn that the last chunk of a stream has."""
    async for chunk in stream.chunks():
        payload = chunk["event"]["payload"]
        if payload["event_type"] in _ENDS:
            return payload["turn"]
    raise _no_end()


async def told(stream: TurnStream, keep_alive: float) -> Response:
    """Return a response with the chunks of a stream.

    What fails before the first chunk is raised, unless nothing comes for ``keep_alive`` seconds: then the
    response begins, for its client may give up otherwise.
    """
    chunks = stream.chunks()
    first = asyncio.create_task(_next(chunks))
    try:
        await asyncio.wait({first}, timeout=keep_alive)
        if first.done():
            await first
    except BaseException:
        await _close(stream, first)
        raise
    return _Told(stream, chunks, first, keep_alive)


class _Told(Response):
    """Sends chunks as long as somebody reads them; the turn goes on without its client."""

    def __init__(
        self,
        stream: TurnStream,
        chunks: AsyncIterator[Json],
        first: asyncio.Task[Json],
        keep_alive: float,
    ) -> None:
        super().__init__(media_type="text/event-stream", headers=_HEADERS)
        del self.headers["content-length"]
        self._stream = stream
        self._chunks = chunks
        self._first = first
        self._keep_alive = keep_alive
        self._written = 0

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until there is no more, or nobody who reads it."""
        try:
            async with while_heard(receive, send) as write:
                await write(
                    {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                )
                beating = asyncio.create_task(self._beat(write))
                try:
                    await self._send_all(write)
                finally:
                    beating.cancel()
                await write(_body(b"", more=False))
        finally:
            await _close(self._stream, self._first)

    async def _send_all(self, write: Send) -> None:
        async with aclosing(self._frames()) as frames:
            async for frame in frames:
                self._written += 1
                await write(_body(frame))

    async def _beat(self, write: Send) -> None:
        """Write something when nothing has been written for a while: one timer for the whole stream."""
        while True:
            written = self._written
            await asyncio.sleep(self._keep_alive)
            if written == self._written:
                await write(_body(KEEP_ALIVE))

    async def _frames(self) -> AsyncGenerator[bytes]:
        try:
            yield _frame(await self._first)
            async for chunk in self._chunks:
                yield _frame(chunk)
        except AgentError as exc:
            yield _frame(error_chunk(problem_of(exc)))
        except Exception as exc:  # noqa: BLE001 - the head is sent: nobody else could tell
            yield _frame(error_chunk(unexpected(exc)))


async def _next(chunks: AsyncIterator[Json]) -> Json:
    try:
        return await anext(chunks)
    except StopAsyncIteration as exc:
        raise _no_end() from exc


async def _close(stream: TurnStream, first: asyncio.Task[Json]) -> None:
    # Nobody reads the stream any more when it is closed.
    first.cancel()
    try:
        await asyncio.gather(first, return_exceptions=True)
    finally:
        await stream.aclose()


def _no_end() -> InvalidAgentResponse:
    return InvalidAgentResponse("The turn has ended without a result.")


def _frame(chunk: Any) -> bytes:
    return b"data: %b\n\n" % _encode(chunk)


def _body(body: bytes, *, more: bool = True) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": more}
