"""Requests that are slow, odd or too many, against the protocol as the server runs it, over bare sockets."""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.app import LIMITS
from agent.cli.bounded_http import BoundedHttp
from agent.cli.refusals import HEADERS
from agent.settings.own import Limits
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

LATE = b"HTTP/1.1 408 Request Timeout\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


class Site:
    """Answers ``/echo`` with the size of the body; ``/stream`` says one thing, and more when told to."""

    def __init__(self, **limits: Any) -> None:
        self.limits = Limits(**{"head_seconds": 0.2, "body_seconds": 0.2} | limits)
        self.go_on = anyio.Event()
        self.headers: list[tuple[bytes, bytes]] = []
        self.gone = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["type"] == "lifespan":
            scope["state"][LIMITS] = self.limits
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return await send({"type": "lifespan.shutdown.complete"})
        self.headers = scope["headers"]
        if scope["path"] == "/stream":
            return await self._stream(receive, send)
        body, more = b"", scope["path"] == "/echo"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return self.gone.set()
            body, more = body + message["body"], message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        return await send({"type": "http.response.body", "body": b"%d bytes" % len(body)})

    async def _stream(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        async with anyio.create_task_group() as group:
            group.start_soon(self._notice, receive)
            await self.go_on.wait()
            group.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b"two"})

    async def _notice(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone.set()
        self.go_on.set()


@asynccontextmanager
async def serving(site: Site, http: type[BoundedHttp] = BoundedHttp) -> AsyncIterator[int]:
    """Serve; yields the port."""
    with anyio.fail_after(20):
        async with run_server(site, http=http) as url:
            yield int(url.rpartition(":")[2])


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        yield connection


def rest_of(connection: socket.socket) -> bytes:
    """Return what comes until the server closes the connection."""
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionError:
        pass
    return received


def until(connection: socket.socket, end: bytes) -> bytes:
    """Return what comes until ``end`` has."""
    received = b""
    while end not in received:
        data = connection.recv(65536)
        assert data, received
        received += data
    return received


def exchange(port: int, *sent: bytes) -> bytes:
    """Send; return what comes until the server closes the connection."""
    with connected(port) as connection:
        try:
            for data in sent:
                connection.sendall(data)
        except ConnectionError:
            pass
        return rest_of(connection)


async def ask(port: int, *sent: bytes) -> bytes:
    return await anyio.to_thread.run_sync(exchange, port, *sent)


@pytest.mark.parametrize(
    "sent",
    [
        b"G",
        b"GET /echo HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        b"\r\nGET /echo HTTP/1.1\r\n",
    ],
    ids=["one byte", "a header", "after an empty line"],
)
async def test_a_head_that_does_not_arrive_is_answered_with_408(sent: bytes) -> None:
    async with serving(Site()) as port:
        answer = await ask(port, sent)

    assert answer.startswith(LATE)
    assert b"\r\nconnection: close\r\n" in answer


async def test_a_head_that_drips_is_not_waited_for_longer_than_one_that_stops() -> None:
    """Each byte is less than the limit after the one before; only the whole is too slow."""

    def drip(port: int) -> bytes:
        with connected(port) as connection:
            connection.sendall(b"GET /echo HTTP/1.1\r\nX-Slow: ")
            connection.settimeout(0.05)
            for _ in range(100):
                try:
                    return connection.recv(65536)
                except TimeoutError:
                    connection.sendall(b"x")
        raise AssertionError("the server still listens")

    async with serving(Site(head_seconds=0.5)) as port:
        answer = await anyio.to_thread.run_sync(drip, port)

    assert answer.startswith(LATE)


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
    ],
    ids=["with a length", "chunked", "without the end of its trailers"],
)
async def test_a_body_that_does_not_arrive_is_answered_with_408(sent: bytes) -> None:
    """And the application, which waits for it too, hears that nobody is there any more."""
    site = Site()
    async with serving(site) as port:
        answer = await ask(port, sent)
        await site.gone.wait()

    assert answer.startswith(LATE)
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_body_that_comes_fast_enough_has_the_time_that_it_needs() -> None:
    """Of 16 KiB a second, a piece of 64 KiB is worth seconds; the limit is a tenth of one."""
    piece = b"x" * 65536
    more = threading.Event()

    def upload(port: int) -> bytes:
        with connected(port) as connection:
            connection.sendall(
                b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n" % (20 * len(piece))
            )
            for _ in range(20):
                connection.sendall(piece)
                more.wait(0.02)
            return rest_of(connection)

    async with serving(Site(body_seconds=0.1)) as port:
        answer = await anyio.to_thread.run_sync(upload, port)

    assert answer.startswith(OK)
    assert b"%d bytes" % (20 * len(piece)) in answer


async def test_empty_lines_do_not_keep_a_connection() -> None:
    async with serving(Site()) as port:
        assert await ask(port, b"\r\n\r\n") == b""


async def test_the_rest_of_a_body_is_not_waited_for_after_its_answer() -> None:
    """The answer is whole: nothing may be added to it."""
    sent = b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello"
    async with serving(Site()) as port:
        answer = await ask(port, sent)

    assert answer.startswith(OK)
    assert b"408" not in answer


async def test_a_body_that_nobody_wants_any_more_is_not_heard_for_ever() -> None:
    """However fast it comes."""

    def flood(port: int) -> None:
        chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        with connected(port) as connection:
            connection.sendall(CHUNKED.replace(b"/echo", b"/early"))
            with pytest.raises(ConnectionError):
                deque(map(connection.sendall, repeat(chunk)), maxlen=0)

    async with serving(Site()) as port:
        await anyio.to_thread.run_sync(flood, port)


@pytest.mark.parametrize(
    "after",
    [
        b"",
        b"GET /ec",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel",
    ],
    ids=["alone", "before half a head", "before half a body"],
)
async def test_a_stream_goes_on_whatever_its_client_begins_to_send(after: bytes) -> None:
    """The limits are long over when it ends; what was begun is then timed itself."""
    site = Site(head_seconds=0.05, body_seconds=0.05)

    def watch(port: int) -> bytes:
        with connected(port) as connection:
            connection.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
            heard = until(connection, b"one")
            connection.sendall(after)
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(10)
            anyio.from_thread.run_sync(site.go_on.set)
            heard += until(connection, b"0\r\n\r\n")
            return heard + (rest_of(connection) if after else b"")

    async with serving(site) as port:
        heard = await anyio.to_thread.run_sync(watch, port)

    stream, _, late = heard.partition(b"two\r\n0\r\n\r\n")
    assert stream.startswith(OK)
    assert late.startswith(LATE) == bool(after)


async def test_a_stream_ends_with_its_connection_although_another_request_waits_behind_it() -> None:
    site = Site()

    def leave(port: int) -> None:
        with connected(port) as connection:
            connection.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
            until(connection, b"one")

    async with serving(site) as port:
        await anyio.to_thread.run_sync(leave, port)
        await site.gone.wait()


async def test_what_is_wrong_behind_a_stream_is_not_written_into_it() -> None:
    site = Site()

    def disturb(port: int) -> bytes:
        with connected(port) as connection:
            connection.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
            heard = until(connection, b"one")
            connection.sendall(b"NO SUCH THING\r\n\r\n")
            return heard + rest_of(connection)

    async with serving(site) as port:
        heard = await anyio.to_thread.run_sync(disturb, port)

    assert heard.count(b"HTTP/1.1") == 1


async def test_requests_that_come_at_once_are_all_answered() -> None:
    one = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    last = one.replace(b"Host: a", b"Host: a\r\nConnection: close")
    async with serving(Site()) as port:
        answer = await ask(port, one * 3 + last)

    assert answer.count(OK) == 4
    assert answer.count(b"5 bytes") == 4


@pytest.mark.parametrize("sent", [b"", b"\r\n"], ids=["nothing", "an empty line"])
async def test_a_new_connection_that_says_nothing_has_the_time_of_a_head(sent: bytes) -> None:
    class Patient(BoundedHttp):
        """Keeps who is idle for an hour."""

        def connection_made(self, transport: Any) -> None:
            self.timeout_keep_alive = 3600
            super().connection_made(transport)

    async with serving(Site(head_seconds=0.1), Patient) as port:
        assert await ask(port, sent) == b""


EARLY = b"GET /early HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_the_connection_that_is_idle_for_longest_gives_way_to_a_new_one() -> None:
    def crowd(port: int) -> tuple[bytes, list[bytes]]:
        with connected(port) as first, connected(port) as second, connected(port) as third:
            for connection in (first, second, third, first):
                connection.sendall(EARLY)
                until(connection, b"0\r\n\r\n")
            with connected(port) as fourth:
                gone = rest_of(second)
                for connection in (first, third, fourth):
                    connection.sendall(EARLY)
                return gone, [until(each, b"bytes") for each in (first, third, fourth)]

    async with serving(Site(connections=3)) as port:
        gone, answers = await anyio.to_thread.run_sync(crowd, port)

    assert gone == b""
    assert all(answer.startswith(OK) for answer in answers)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /early HTTP/1.1\r\nX-Slow: ",
        b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
    ],
    ids=["nothing", "half a head", "half a body behind its answer"],
)
async def test_who_holds_connections_without_a_request_keeps_nobody_out(sent: bytes) -> None:
    """Whatever they began, as long as the server does nothing for them."""

    def flood(port: int) -> bytes:
        with ExitStack() as stack:
            for _ in range(50):
                stack.enter_context(connected(port)).sendall(sent)
            late = stack.enter_context(connected(port))
            late.sendall(EARLY)
            return until(late, b"bytes")

    async with serving(Site(connections=5, head_seconds=10, body_seconds=10)) as port:
        answer = await anyio.to_thread.run_sync(flood, port)

    assert answer.startswith(OK)


async def test_only_when_all_connections_are_busy_a_new_one_is_refused() -> None:
    site = Site(connections=2, head_seconds=10)

    def crowd(port: int) -> tuple[list[bytes], bytes, bytes]:
        with connected(port) as first, connected(port) as second:
            for connection in (first, second):
                connection.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
                until(connection, b"one")
            refused = [ask_once(port) for _ in range(3)]
            anyio.from_thread.run_sync(site.go_on.set)
            heard = until(first, b"0\r\n\r\n") + until(second, b"0\r\n\r\n")
            return refused, heard, ask_once(port)

    def ask_once(port: int) -> bytes:
        return exchange(port, EARLY.replace(b"Host: a", b"Host: a\r\nConnection: close"))

    async with serving(site) as port:
        refused, heard, taken = await anyio.to_thread.run_sync(crowd, port)

    # What was sent unread makes the system reset the connection, sometimes before it is read here.
    assert all(each == b"" or each.startswith(b"HTTP/1.1 503 ") for each in refused)
    assert heard.count(b"two") == 2
    assert taken.startswith(OK)


async def test_connections_that_were_refused_or_reset_leave_their_places() -> None:
    """Many more than there are places, one after another; a stream has one of the two all the time."""
    site = Site(connections=2, body_seconds=10)
    begun = b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"

    def come_and_go(port: int) -> bytes:
        with connected(port) as first:
            first.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
            until(first, b"one")
            for _ in range(10):
                site.gone = anyio.from_thread.run_sync(anyio.Event)
                with connected(port) as reset:
                    reset.sendall(begun)
                    until(reset, b"100 Continue\r\n\r\n")
                    assert exchange(port).startswith(b"HTTP/1.1 503 ")
                    reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                anyio.from_thread.run(site.gone.wait)
                with connected(port) as taken:
                    taken.sendall(EARLY)
                    until(taken, b"bytes")
            anyio.from_thread.run_sync(site.go_on.set)
            return until(first, b"two")

    async with serving(site) as port:
        assert b"two" in await anyio.to_thread.run_sync(come_and_go, port)


HEAD = b"POST /echo HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"X: a\r\n b\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length : 1\r\n\r\na",
        HEAD + b"Content-Length: +1\r\n\r\na",
        HEAD + b"X: a\0b\r\n\r\n",
        b"POST /echo HTTP/1.1\nHost: a\nContent-Length: 1\n\na",
        CHUNKED + b"-1\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"fffffffffffffffff\r\nhello",
    ],
    ids=[
        "folded header",
        "two lengths",
        "length and chunks",
        "chunks and length",
        "chunks not last",
        "unknown coding",
        "space before colon",
        "signed length",
        "NUL",
        "bare newlines",
        "negative chunk",
        "endless chunk",
    ],
)
async def test_what_two_servers_could_read_in_two_ways_is_refused(sent: bytes) -> None:
    """One answer, and nothing of it is taken for another request."""
    async with serving(Site()) as port:
        answer = await ask(port, sent + b"GET /early HTTP/1.1\r\nHost: a\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"x:\r\n" * HEADERS + b"\r\n",
        HEAD + b"x" * 60_000 + b":\r\n" + b"y" * 6000 + b":\r\n\r\n",
        CHUNKED + b"1;" + b"x" * 1_000_000,
        CHUNKED + b"1\r\na\r\n0\r\nX: " + b"x" * 1_000_000,
        CHUNKED + b"1\r\na\r\n0\r\n" + b"x:\r\n" * 200 + b"\r\n",
    ],
    ids=["headers", "names", "extension of a chunk", "one trailer", "trailers"],
)
async def test_what_has_no_end_is_refused_before_it_is_kept(sent: bytes) -> None:
    async with serving(Site(head_seconds=10, body_seconds=10)) as port:
        answer = await ask(port, sent)

    # A client that is still writing may find the connection reset before it can read.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


async def test_as_many_headers_as_allowed_are_taken_in_any_number_of_pieces() -> None:
    """What was counted in the first piece is not counted again in the second."""
    head = HEAD + b"".join(b"x: %b\r\n" % (b"y" * 600) for _ in range(HEADERS - 2))
    parts = head[:40_000], head[40_000:], b"Connection: close\r\n\r\n"

    async with serving(Site(head_seconds=10)) as port:
        answer = await ask(port, *parts)

    assert answer.startswith(OK)


async def test_trailers_never_become_headers() -> None:
    site = Site()
    sent = CHUNKED.replace(b"Host: a", b"Host: a\r\nConnection: close")
    async with serving(site) as port:
        answer = await ask(port, sent + b"1\r\na\r\n0\r\nAuthorization: Bearer x\r\n\r\n")

    assert answer.startswith(OK)
    assert b"authorization" not in dict(site.headers)


async def test_who_reads_nothing_of_an_answer_is_disconnected() -> None:
    """Closing alone would wait until all is read, which is never."""
    lost = anyio.Event()

    class Impatient(BoundedHttp):
        """Waits for readers for a tenth of a second."""

        def connection_made(self, transport: Any) -> None:
            self.timeout_keep_alive = 0.1  # type: ignore[assignment]  # uvicorn wants whole seconds
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.set()

    async def big(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await Site()(scope, receive, send)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        return await send({"type": "http.response.body", "body": b"x" * 50_000_000})

    async with run_server(big, http=Impatient) as url:
        with connected(int(url.rpartition(":")[2])) as connection, anyio.fail_after(10):
            send = partial(connection.sendall, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await anyio.to_thread.run_sync(send)
            await lost.wait()
