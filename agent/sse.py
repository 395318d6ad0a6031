"""A task, told as server-sent events: the ``id:`` of an event is its number in the task's log."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from agent.errors import AgentError, StreamEnded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from starlette.types import Message, Receive, Send

    from agent.following import Numbered

logger = logging.getLogger(__name__)

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    # Proxies such as nginx would otherwise collect the stream before they pass it on.
    (b"x-accel-buffering", b"no"),
]
KEEP_ALIVE = b": keep-alive\n\n"

STALLED_SECONDS = 60.0
"""Who reads nothing for so long has gone: all events are kept for as long as somebody is to read them."""


async def stream_events(
    news: AsyncGenerator[list[Numbered[bytes]]],
    *,
    wrapping: tuple[bytes, bytes],
    failed: Callable[[AgentError], bytes],
    idle: float,
    receive: Receive,
    send: Send,
) -> None:
    """Send events until they end or the client goes away; the task goes on either way.

    ``wrapping`` stands around each event; ``failed`` writes what ends a stream that broke. A stream
    without events for ``idle`` seconds is ended: its client may come back for the rest.
    """
    async with while_heard(receive, send) as write:
        await write({"type": "http.response.start", "status": 200, "headers": HEADERS})
        try:
            async with aclosing(news):
                await _send_events(news, wrapping, idle, write)
        except AgentError as exc:
            await _send_body(write, b"data: " + failed(exc) + b"\n\n")
        await write({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def while_heard(receive: Receive, send: Send) -> AsyncIterator[Send]:
    """Leave the block when the client goes away, or reads nothing for too long of what is sent in it."""
    impatient = Impatient(send)
    sending = asyncio.current_task()
    gone = asyncio.create_task(_disconnected(receive))
    gone.add_done_callback(lambda done: done.cancelled() or (sending and sending.cancel()))
    try:
        yield impatient
    except asyncio.CancelledError:
        if not (gone.done() or impatient.stalled):
            raise
        if impatient.stalled:
            logger.info("A client does not read its stream, which is ended")
    finally:
        impatient.stop()
        gone.cancel()


class Impatient:
    """``send`` with a limit to how long a client may read nothing; then its task is canceled.

    One look now and then for a whole stream: a time limit around each write would cost as much as
    the write.
    """

    def __init__(self, send: Send, seconds: float = STALLED_SECONDS) -> None:
        """Watch the writes of the current task."""
        self.stalled = False
        self._send = send
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._since: float | None = None
        self._timer = self._loop.call_later(seconds, self._look)

    async def __call__(self, message: Message) -> None:
        """Write."""
        self._since = self._loop.time()
        await self._send(message)
        self._since = None

    def stop(self) -> None:
        """Watch no more."""
        self._timer.cancel()

    def _look(self) -> None:
        left = 0.0 if self._since is None else self._since + self._seconds - self._loop.time()
        if self._since is not None and left <= 0 and self._task is not None:
            self.stalled = True
            self._task.cancel()
        else:
            self._timer = self._loop.call_later(left or self._seconds, self._look)


async def _send_events(
    news: AsyncGenerator[list[Numbered[bytes]]],
    wrapping: tuple[bytes, bytes],
    idle: float,
    send: Send,
) -> None:
    head, tail = wrapping
    heard_at = asyncio.get_running_loop().time()
    async for events in news:
        if events:
            heard_at = asyncio.get_running_loop().time()
            await _send_body(send, b"".join([_frame(event, head, tail) for event in events]))
        elif asyncio.get_running_loop().time() - heard_at >= idle:
            raise StreamEnded
        else:
            await _send_body(send, KEEP_ALIVE)


def _frame(event: Numbered[bytes], head: bytes, tail: bytes) -> bytes:
    seq, body = event
    if seq is None:
        return b"data: %b%b%b\n\n" % (head, body, tail)
    return b"id: %d\ndata: %b%b%b\n\n" % (seq, head, body, tail)


async def _send_body(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
