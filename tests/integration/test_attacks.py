"""Requests that are made to hurt, against the server as it is started, over bare sockets."""

from __future__ import annotations

import gc
import json
import socket
import struct
import urllib.request
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anyio
import pytest

from agent.cli.bounded_http import BoundedHttp
from tests.durability.process import Process, running
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

MEGABYTE = 1024 * 1024
EXTENSION = "https://example.org/needed"


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Process]:
    """Yield a server that requires an extension and signs nobody in."""
    process = Process(
        tmp_path_factory.mktemp("attacks"),
        a2a_state={"memory": True},
        a2a={"extensions": [{"uri": EXTENSION, "required": True}]},
    )
    async with running(process):
        yield process


def exchange(server: Process, *sent: bytes) -> bytes:
    """Send bytes; return what comes back until the server closes the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        try:
            for data in sent:
                connection.sendall(data)
        except ConnectionError:
            pass  # Refused before it was all sent: the answer tells why.
        try:
            while data := connection.recv(65536):
                received += data
        except ConnectionError:
            pass
    return received


def call(method: str, params: dict[str, Any], *headers: bytes) -> bytes:
    """Return the bytes of a JSON-RPC request that closes its connection."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    lines = (
        b"POST /a2a HTTP/1.1",
        b"Host: localhost",
        b"Connection: close",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        *headers,
    )
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def error_of(answer: bytes) -> dict[str, Any]:
    """Return the error of a JSON-RPC answer."""
    error: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    return error


NEEDED = b"A2A-Extensions: " + EXTENSION.encode()


async def test_a_head_without_an_end_is_refused_before_it_fills_the_memory(server: Process) -> None:
    """A hundred megabytes would be held, and would keep the event loop busy for seconds."""
    endless = (b"x" * MEGABYTE for _ in range(100))

    answer = await anyio.to_thread.run_sync(
        exchange, server, b"GET /tasks HTTP/1.1\r\nX-Long: ", *endless
    )

    # A client that is still writing may find the connection reset before it can read.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    card = f"{server.url}/.well-known/agent-card.json"
    with await anyio.to_thread.run_sync(urllib.request.urlopen, card) as shown:
        assert shown.status == 200


async def test_a_head_that_is_too_large_is_told_so(server: Process) -> None:
    head = b"GET /tasks HTTP/1.1\r\nHost: agent\r\nX-Long: " + b"x" * 70_000

    answer = await anyio.to_thread.run_sync(exchange, server, head)

    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "head",
    [
        b"POST /a2a HTTP/1.1\r\nX-Long: " + b"x" * 70_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /tasks HTTP/1.1\r\n"
        + b"".join(b"X-%d: %b\r\n" % (n, b"x" * 3000) for n in range(40))
        + b"\r\n",
        b"GET /tasks?pageToken=" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: agent\r\n\r\n",
    ],
    ids=["one header", "many headers", "request line"],
)
async def test_a_whole_head_that_is_too_large_is_refused_as_well(
    server: Process, head: bytes
) -> None:
    """It may come at once, with its body."""
    answer = await anyio.to_thread.run_sync(exchange, server, head)

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_header_that_is_wrong_is_told_in_the_words_of_the_method(server: Process) -> None:
    wrong = call("SubscribeToTask", {"id": "t"}, b"Last-Event-ID: abc")

    error = error_of(await anyio.to_thread.run_sync(exchange, server, wrong))

    assert error["data"][0]["fieldViolations"][0]["field"] == "Last-Event-ID"


async def test_a_large_body_has_nothing_to_do_with_the_size_of_the_head(server: Process) -> None:
    filler = "x" * MEGABYTE

    answer = await anyio.to_thread.run_sync(
        exchange, server, call("GetTask", {"id": "none", "filler": filler}, NEEDED)
    )

    assert error_of(answer)["code"] == -32001


async def test_the_log_is_not_filled_by_what_is_refused(tmp_path: Path) -> None:
    server = Process(tmp_path, a2a_state={"memory": True}, limits={"head_seconds": 0.1})
    upgrade = b"GET /tasks HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\n"
    bad = {
        b"408": b"GET /tasks HTTP/1.1\r\n",
        b"400": b"nonsense\r\n\r\n",
        b"431": b"GET /tasks HTTP/1.1\r\nX-Long: " + b"x" * 70_000,
        b"200": upgrade + b"Upgrade: h2c\r\n\r\n",
    }
    async with running(server):
        for _ in range(3):
            for status, request in bad.items():
                answer = await anyio.to_thread.run_sync(exchange, server, request)
                assert answer.startswith(b"HTTP/1.1 " + status)

    told = [line for line in server.log.splitlines() if "WARNING" in line]
    assert len(told) == len({said.partition("WARNING")[2] for said in told})
    for text in ("Refused: 408", "Refused: 400", "Refused: 431", "Unsupported upgrade"):
        assert len([line for line in told if text in line]) == 1


async def test_nothing_is_kept_of_connections_that_are_reset() -> None:
    """Uvicorn alone keeps them as long as an idle connection may last."""

    async def greet(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return await send({"type": "lifespan.shutdown.complete"})
        await send({"type": "http.response.start", "status": 204, "headers": []})
        return await send({"type": "http.response.body", "body": b""})

    def visit(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: agent\r\n\r\n")
            assert connection.recv(1024).startswith(b"HTTP/1.1 204 ")
            # Closing without lingering resets the connection.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with run_server(greet, http=BoundedHttp) as url:
        for _ in range(5):
            await anyio.to_thread.run_sync(visit, int(url.rpartition(":")[2]))
        with anyio.fail_after(5):
            while any(isinstance(kept, BoundedHttp) for kept in gc.get_objects()):
                await anyio.sleep(0.01)
                gc.collect()


@pytest.mark.parametrize(
    "last_event_id",
    [b"9" * 5000, b"0" * 19 + b"9" * 5000, b"0" * 6000, b"9" * 19, b"1" + b"0" * 25],
)
async def test_a_last_event_id_of_any_length_is_no_fault_of_the_server(
    server: Process, last_event_id: bytes
) -> None:
    request = call("GetTask", {"id": "none"}, NEEDED, b"Last-Event-ID: " + last_event_id)

    answer = await anyio.to_thread.run_sync(exchange, server, request)

    assert error_of(answer)["code"] in {-32001, -32602}


async def test_extensions_may_come_in_several_headers(server: Process) -> None:
    """Two lines of one header are a list of both (RFC 9110 section 5.3)."""
    request = call("GetTask", {"id": "none"}, NEEDED, b"A2A-Extensions: urn:another")

    answer = await anyio.to_thread.run_sync(exchange, server, request)

    assert error_of(answer)["code"] == -32001
    assert b"a2a-extensions: " + EXTENSION.encode() in answer


async def test_messages_that_name_the_context_alone_never_hear_of_a_task_that_has_ended(
    server: Process,
) -> None:
    """One of them answers what waits there; the others are new tasks, as if nothing had waited."""
    context = uuid4().hex

    def send(text: str) -> dict[str, Any]:
        message = {
            "messageId": text,
            "contextId": context,
            "role": "ROLE_USER",
            "parts": [{"text": text}],
        }
        answer = exchange(server, call("SendMessage", {"message": message}, NEEDED))
        said: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
        return said

    asked = await anyio.to_thread.run_sync(send, "ask:one")
    answers: list[dict[str, Any]] = []

    async def send_one(number: int) -> None:
        answers.append(await anyio.to_thread.run_sync(send, f"words:2:{number}"))

    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(send_one, number)

    assert all("result" in answer for answer in answers), answers
    ids = [answer["result"]["task"]["id"] for answer in answers]
    assert ids.count(asked["result"]["task"]["id"]) == 1
    assert len(set(ids)) == len(ids)
