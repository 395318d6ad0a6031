"""The limit: an ASGI application that reads the request and writes an answer that is already there.

Its answers have the shape and size of the real ones. Served by the same server, uvicorn with uvloop
and httptools, it shows what is left for an agent to lose: ``uvicorn tests.load.bare:app``.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from tests.load.stack import chunks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping

    type Message = MutableMapping[str, Any]
    type Receive = Callable[[], Awaitable[Message]]
    type Send = Callable[[Message], Awaitable[None]]

_DIALECTS = {
    "message/send": "0.3",
    "message/stream": "0.3",
    "tasks/get": "0.3",
    "SendMessage": "1.0",
    "SendStreamingMessage": "1.0",
    "GetTask": "1.0",
}
_TASKS = {
    "0.3": (
        b'{"kind":"task","id":"%b","contextId":"%b","status":{"state":"completed","timestamp":'
        b'"2026-01-01T00:00:00.000Z"},"artifacts":[{"artifactId":"answer","parts":[{"kind":"text",'
        b'"text":%b}]}],"history":[{"kind":"message","messageId":"6f1d2c3b-0000-4000-8000-0000000'
        b'00000","role":"user","parts":[{"kind":"text","text":"hello"}],"contextId":"%b","taskId":'
        b'"%b"}],"metadata":{"stop_reason":"end_of_turn"}}'
    ),
    "1.0": (
        b'{"id":"%b","contextId":"%b","status":{"state":"TASK_STATE_COMPLETED","timestamp":'
        b'"2026-01-01T00:00:00.000Z"},"artifacts":[{"artifactId":"answer","parts":[{"text":%b}]}],'
        b'"history":[{"messageId":"6f1d2c3b-0000-4000-8000-000000000000","role":"ROLE_USER",'
        b'"parts":[{"text":"hello"}],"contextId":"%b","taskId":"%b"}],'
        b'"metadata":{"stop_reason":"end_of_turn"}}'
    ),
}
_STATUSES = {
    "0.3": (
        b'{"taskId":"%b","contextId":"%b","status":{"state":"%b","timestamp":'
        b'"2026-01-01T00:00:00.000Z"},"kind":"status-update","final":%b}'
    ),
    "1.0": (
        b'{"statusUpdate":{"taskId":"%b","contextId":"%b","status":{"state":"TASK_STATE_%b",'
        b'"timestamp":"2026-01-01T00:00:00.000Z"}}}'
    ),
}
_ARTIFACTS = {
    "0.3": (
        b'{"kind":"artifact-update","taskId":"%b","contextId":"%b","artifact":{"artifactId":'
        b'"answer","parts":[{"kind":"text","text":%b}]},"append":true}'
    ),
    "1.0": (
        b'{"artifactUpdate":{"taskId":"%b","contextId":"%b","artifact":{"artifactId":"answer",'
        b'"parts":[{"text":%b}]},"append":true}}'
    ),
}
_JSON = (b"content-type", b"application/json")
_SSE = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
_CONTEXT_ID = b"0123456789abcdef" * 3
_task_ids = map(b"6f1d2c3b-1111-4000-8000-%012x".__mod__, count())


class _Part(msgspec.Struct):
    text: str


class _Message(msgspec.Struct):
    parts: list[_Part]


class _Params(msgspec.Struct):
    id: str = ""
    message: _Message | None = None

    @property
    def text(self) -> str:
        return self.message.parts[0].text if self.message else "hello"


class _Request(msgspec.Struct):
    id: int
    method: str
    params: _Params


_decode = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.Encoder().encode


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answer ``message/send``, ``message/stream`` and ``tasks/get`` of both versions."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message["body"]
        more = message.get("more_body", False)
    request = _decode(body)
    if "tream" in request.method:
        await _stream(send, request)
    else:
        await _answer(send, request)


async def _answer(send: Send, request: _Request) -> None:
    task_id = request.params.id.encode() or next(_task_ids)
    text = _encode(f"echo: {request.params.text}")
    task = _TASKS[_DIALECTS[request.method]] % (task_id, _CONTEXT_ID, text, _CONTEXT_ID, task_id)
    if request.method == "SendMessage":
        task = b'{"task":%b}' % task
    body = b'{"jsonrpc":"2.0","id":%d,"result":%b}' % (request.id, task)
    headers = [_JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(send: Send, request: _Request) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": _SSE})
    for event, seconds in _events(request):
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await asyncio.sleep(seconds)
    await send({"type": "http.response.body", "body": b""})


def _events(request: _Request) -> Iterator[tuple[bytes, float]]:
    """Yield each event of the stream, and the seconds to wait after it."""
    dialect = _DIALECTS[request.method]
    ids = next(_task_ids), _CONTEXT_ID
    event = b'id: %%d\ndata: {"jsonrpc":"2.0","id":%d,"result":%%b}\n\n' % request.id
    artifact = _ARTIFACTS[dialect]
    number = 1

    def status(state: bytes, final: bytes) -> bytes:
        values = (state.lower(), final) if dialect == "0.3" else (state,)
        return event % (number, _STATUSES[dialect] % (*ids, *values))

    yield status(b"WORKING", b"false"), 0
    for chunk, seconds in chunks(request.params.text):
        number += 1
        yield event % (number, artifact % (*ids, _encode(chunk))), seconds
    number += 1
    yield status(b"COMPLETED", b"true"), 0
