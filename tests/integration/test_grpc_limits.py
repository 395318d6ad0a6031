"""How much of the gRPC server one caller may have, before anybody knows who that is."""

from __future__ import annotations

import logging
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

pytest.importorskip("grpc")

import grpc
from a2a.types import a2a_pb2 as v1
from a2a.types import a2a_pb2_grpc

from agent.cli.bounded_http import HEAD_BYTES
from agent.grpc_binding import server
from agent.stacks import TextDelta
from tests.conformance.client import in_process
from tests.fakes.ports import free_port
from tests.fakes.scripted_stack import ANSWER, DONE, Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

HELLO = v1.Message(message_id="m-1", role=v1.ROLE_USER, parts=[v1.Part(text="hi")])
SEND = v1.SendMessageRequest(message=HELLO)
LIST = v1.ListTasksRequest()
KEYED = {"module": "api-key-token", "api_key_config": {"api_key": "letmein"}}
# RFC 9113: the preface of a client, and empty SETTINGS.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])

stub: Any = a2a_pb2_grpc.A2AServiceStub


@asynccontextmanager
async def served(script: Script | None = None, **settings: Any) -> AsyncIterator[int]:
    """Serve over gRPC; yields the port."""
    port = free_port()
    settings |= {"service": {"host": "127.0.0.1"}, "a2a": {"grpc_port": port}}
    async with in_process(script or Script(ANSWER), **settings):
        yield port


def channel_to(port: int) -> Any:
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}")


def unsent(channel: Any, operation: str) -> Any:
    """Begin a call whose message never comes."""
    return channel.stream_unary(f"/lf.a2a.v1.A2AService/{operation}")()


async def code_of(call: Any) -> tuple[Any, str]:
    return await call.code(), await call.details()


async def last_state(stream: Any) -> Any:
    """Read a stream to its end; returns the state that its task has then."""
    while (event := await stream.read()) is not grpc.aio.EOF:
        last = event
    return last.status_update.status.state


@pytest.mark.parametrize("operation", ["SendMessage", "SendStreamingMessage"])
async def test_who_calls_is_asked_before_the_message_is_read(operation: str) -> None:
    async with served(authentication=KEYED) as port, channel_to(port) as channel:
        code, _ = await code_of(unsent(channel, operation))

    assert code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("operation", ["SendMessage", "SendStreamingMessage"])
async def test_a_message_has_only_so_long_to_arrive_and_a_stream_as_long_as_it_takes(
    operation: str,
) -> None:
    gate = anyio.Event()
    script = Script([TextDelta("first"), gate, DONE])
    async with (
        served(script, limits={"body_seconds": 0.1}) as port,
        channel_to(port) as channel,
    ):
        stream = stub(channel).SendStreamingMessage(SEND)
        assert (await stream.read()).task.id
        code, text = await code_of(unsent(channel, operation))
        gate.set()
        state = await last_state(stream)

    assert (code, text) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "The request did not arrive in time",
    )
    assert state == v1.TASK_STATE_COMPLETED


@pytest.mark.parametrize("operation", ["SendMessage", "SendStreamingMessage"])
async def test_a_call_without_a_message_is_refused(operation: str) -> None:
    async with served() as port, channel_to(port) as channel:
        call = unsent(channel, operation)
        await call.done_writing()
        code, text = await code_of(call)

    assert (code, text) == (grpc.StatusCode.INVALID_ARGUMENT, "The request has no message")


async def test_who_leaves_before_the_message_is_there_is_forgotten(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is no error of the server's, and the place is free again."""
    async with served(limits={"connections": 1}) as port, channel_to(port) as channel:
        call = unsent(channel, "SendMessage")
        await call.wait_for_connection()
        call.cancel()
        code = None
        while code is not grpc.StatusCode.OK:
            code = await stub(channel).ListTasks(LIST).code()

    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


async def test_calls_beyond_the_limit_are_refused_and_those_that_run_go_on() -> None:
    gate = anyio.Event()
    script = Script([TextDelta("first"), gate, DONE])
    async with (
        served(script, limits={"connections": 2}) as port,
        channel_to(port) as channel,
    ):
        streams = [stub(channel).SendStreamingMessage(SEND) for _ in range(2)]
        for stream in streams:
            assert (await stream.read()).task.id
        refused = await stub(channel).ListTasks(LIST).code()
        gate.set()
        states = [await last_state(stream) for stream in streams]
        code = refused
        while code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            code = await stub(channel).ListTasks(LIST).code()

    assert refused is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert code is grpc.StatusCode.OK
    assert states == [v1.TASK_STATE_COMPLETED] * 2


def speak(port: int) -> socket.socket:
    """Begin a connection that calls nothing."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(PREFACE)
    return connection


def heard(connection: socket.socket) -> bytes:
    """Return all that the server says until it hangs up."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


async def test_a_connection_that_says_nothing_has_the_time_of_a_head() -> None:
    run = anyio.to_thread.run_sync
    async with served(limits={"head_seconds": 0.3}) as port:
        with await run(socket.create_connection, ("127.0.0.1", port), 20) as silent:
            await run(heard, silent)


async def test_connections_beyond_the_limit_are_closed() -> None:
    run = anyio.to_thread.run_sync
    async with served(limits={"connections": 2}) as port:
        first, second = await run(speak, port), await run(speak, port)
        with first, second:
            for connection in (first, second):
                assert await run(connection.recv, 1)
            third = await run(socket.create_connection, ("127.0.0.1", port), 10)
            with third:
                assert await run(heard, third) == b""
        async with channel_to(port) as channel:
            call = stub(channel).ListTasks(LIST, wait_for_ready=True)
            assert await call.code() is grpc.StatusCode.OK


async def test_a_connection_without_a_call_is_closed_and_one_with_a_stream_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "IDLE_MILLISECONDS", 200)
    gate = anyio.Event()
    async with (
        served(Script([TextDelta("first"), gate, DONE])) as port,
        channel_to(port) as channel,
    ):
        stream = stub(channel).SendStreamingMessage(SEND)
        assert (await stream.read()).task.id
        with await anyio.to_thread.run_sync(speak, port) as idle:
            assert await anyio.to_thread.run_sync(heard, idle)
        gate.set()
        state = await last_state(stream)

    assert state == v1.TASK_STATE_COMPLETED


async def test_metadata_may_be_as_large_as_the_head_of_an_http_request() -> None:
    """Nothing is left to chance below, as it is with grpc's own bounds."""
    assert server.METADATA_BYTES == HEAD_BYTES
    async with served() as port, channel_to(port) as channel:
        listing = stub(channel).ListTasks
        for _ in range(20):
            assert (await listing(LIST, metadata=[("x", "a" * (HEAD_BYTES - 1000))])).tasks == []
        code, _ = await code_of(listing(LIST, metadata=[("x", "a" * HEAD_BYTES)]))

    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
