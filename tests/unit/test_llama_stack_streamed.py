"""How a turn is told while it is made, and how it is waited for."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.errors import InvalidAgentResponse, ModelNotFound, ResourceNotFound
from rest_compat.llama_stack.streamed import collected, told
from tests.fakes.agents_api import ScriptedStream, end_chunk, text_chunk, turn_of

if TYPE_CHECKING:
    from starlette.types import Message, Scope

    from tests.fakes.agents_api import Script

pytestmark = pytest.mark.anyio

SCOPE: Scope = {"type": "http"}
SECRET = "canary-in-an-exception"
AT_ONCE, NEVER = 0.001, 1000.0


class Client:
    """Keeps what is sent to it; says when a keep-alive has come, and leaves after ``reads`` messages."""

    def __init__(self, reads: int | None = None) -> None:
        self.messages: list[Message] = []
        self.kept_alive = asyncio.Event()
        self._reads = reads
        self._left = asyncio.Event()

    async def send(self, message: Message) -> None:
        """Take a message."""
        self.messages.append(message)
        if message.get("body") == b": keep-alive\n\n":
            self.kept_alive.set()
        if len(self.messages) == self._reads:
            self._left.set()

    async def receive(self) -> Message:
        """Say nothing but that it leaves."""
        await self._left.wait()
        return {"type": "http.disconnect"}

    @property
    def body(self) -> bytes:
        """All that came."""
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def chunks(self) -> list[Any]:
        """What came with data, each event by itself."""
        events = self.body.replace(b": keep-alive\n\n", b"").split(b"\n\n")
        assert events.pop() == b""
        return [json.loads(event.removeprefix(b"data: ")) for event in events]


async def tell(stream: ScriptedStream, client: Client, keep_alive: float = NEVER) -> None:
    with anyio.fail_after(5):
        response = await told(stream, keep_alive)
        await response(SCOPE, client.receive, client.send)


async def test_chunks_are_events_without_a_name() -> None:
    stream, client = ScriptedStream((text_chunk("Grüße"), end_chunk())), Client()
    await tell(stream, client)
    start, first, second, last = client.messages
    headers = dict(start["headers"])
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert b"content-length" not in headers
    assert first["body"].startswith(b'data: {"event":{"payload":{"event_type":"step_progress"')
    assert first["body"].endswith(b"}\n\n")
    assert b"Gr\xc3\xbc\xc3\x9fe" in first["body"]
    assert json.loads(second["body"].removeprefix(b"data: ")) == end_chunk()
    assert last == {"type": "http.response.body", "body": b"", "more_body": False}
    assert stream.closed == 1


async def test_what_fails_before_the_first_chunk_is_raised() -> None:
    stream = ScriptedStream([ResourceNotFound("session", "s")])
    with anyio.fail_after(5), pytest.raises(ResourceNotFound):
        await told(stream, NEVER)
    assert stream.closed == 1


async def test_a_turn_without_chunks_has_failed() -> None:
    stream = ScriptedStream(())
    with anyio.fail_after(5), pytest.raises(InvalidAgentResponse):
        await told(stream, NEVER)
    assert stream.closed == 1


async def test_a_response_begins_when_nothing_comes_for_long_and_keeps_its_client() -> None:
    client = Client()
    stream = ScriptedStream([client.kept_alive, text_chunk("late"), end_chunk()])
    await tell(stream, client, AT_ONCE)
    assert client.messages[1]["body"] == b": keep-alive\n\n"
    assert client.chunks == [text_chunk("late"), end_chunk()]


async def test_a_client_is_kept_between_chunks_too() -> None:
    client = Client()
    stream = ScriptedStream([text_chunk("a"), client.kept_alive, end_chunk()])
    await tell(stream, client, AT_ONCE)
    assert client.chunks == [text_chunk("a"), end_chunk()]


@pytest.mark.parametrize("late", [False, True], ids=["after a chunk", "after keep-alives"])
async def test_what_fails_later_is_the_last_chunk(late: bool) -> None:
    client = Client()
    before: Script = [client.kept_alive] if late else [text_chunk("a")]
    stream = ScriptedStream([*before, ModelNotFound("There is no model m")])
    await tell(stream, client, AT_ONCE if late else NEVER)
    assert client.chunks[-1] == {"error": {"message": "404: There is no model m"}}
    assert client.messages[-1]["more_body"] is False
    assert stream.closed == 1


async def test_a_fault_of_ours_ends_a_stream_and_says_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = Client()
    with caplog.at_level(logging.ERROR):
        await tell(ScriptedStream([text_chunk("a"), ValueError(SECRET)]), client)
    message = client.chunks[-1]["error"]["message"]
    assert message.startswith("500: ")
    assert SECRET not in message
    assert SECRET in caplog.text


@pytest.mark.parametrize("reads", [1, 2], ids=["before the first chunk", "after it"])
async def test_a_client_that_leaves_ends_its_stream(reads: int) -> None:
    forever = asyncio.Event()
    script: Script = [forever] if reads == 1 else [text_chunk("a"), forever]
    stream = ScriptedStream(script)
    await tell(stream, Client(reads), AT_ONCE if reads == 1 else NEVER)
    assert stream.closed == 1


async def test_who_stops_waiting_for_the_first_chunk_leaves_nothing_open() -> None:
    stream = ScriptedStream([asyncio.Event()])
    with anyio.move_on_after(AT_ONCE) as waiting:
        await told(stream, NEVER)
    assert waiting.cancelled_caught
    assert stream.closed == 1


@pytest.mark.parametrize("ends_with", ["turn_complete", "turn_awaiting_input"])
async def test_a_turn_that_is_waited_for_is_that_of_the_last_chunk(ends_with: str) -> None:
    turn = turn_of(text="whole")
    stream = ScriptedStream([text_chunk("who"), end_chunk(turn, ends_with)])
    assert await collected(stream) == turn


async def test_a_turn_that_is_waited_for_must_end() -> None:
    with pytest.raises(InvalidAgentResponse):
        await collected(ScriptedStream([text_chunk("a")]))
