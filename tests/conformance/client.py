"""A client of the server under test, in process or on a socket, with the script of its stack at hand."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import httpx
from anyio.lowlevel import checkpoint

from agent.app import create_app
from agent.settings import Settings
from tests.conformance.wire import V1_0
from tests.fakes.scripted_stack import STACK, Script, scripted
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.applications import Starlette

    from tests.conformance.wire import Json, Wire

LIMIT = 10
"""Seconds for whatever a test does with a server: none waits for ever."""

MEMORY = {"memory": True}
# What no caller may read, whatever went wrong.
LEAKS = ("Traceback", "msgspec", "sqlalchemy", "sqlite", "Error:", "Expected `", "$.", "secret")


class Event(NamedTuple):
    """One server-sent event: its id if it has one, and its result in the words of 1.0."""

    seq: int | None
    result: Json
    body: Json


class Reply:
    """An HTTP response with a JSON-RPC response in it; whatever is read from it is checked first."""

    def __init__(self, response: httpx.Response, wire: Wire) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.text = response.text
        self._wire = wire

    @property
    def body(self) -> Json:
        """The JSON-RPC response, or the list of them."""
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.text)

    @property
    def result(self) -> Json:
        """The result, as it is on the wire."""
        body = self.body
        assert body.keys() == {"jsonrpc", "id", "result"}, self.text
        assert body["jsonrpc"] == "2.0"
        assert self.status == 200
        return body["result"]

    @property
    def task(self) -> Json:
        """The task that get answers with."""
        return self._wire.read_task(self.result)

    @property
    def sent(self) -> Json:
        """What send answers with: {"task": ...} or {"message": ...}."""
        sent = self._wire.read_event(self.result)
        assert sent.keys() <= {"task", "message"}
        return sent

    @property
    def error(self) -> Json:
        """The error."""
        return self.check_error(self.body)

    def check_error(self, body: Json) -> Json:
        """Hold an error response against the specification; returns the error."""
        assert body.keys() == {"jsonrpc", "id", "error"}, self.text
        assert body["jsonrpc"] == "2.0"
        error = body["error"]
        assert error.keys() == {"code", "message", "data"}
        assert type(error["code"]) is int
        assert error["message"]
        self._wire.check_error_data(error["code"], error["data"])
        assert not [leak for leak in LEAKS if leak in json.dumps(error)]
        return error

    @property
    def code(self) -> int:
        """The code of the error."""
        code: int = self.error["code"]
        return code

    @property
    def field(self) -> str:
        """The parameter that an Invalid params error names."""
        data = self.error["data"]
        field: str = data["field"] if "field" in data else data[0]["fieldViolations"][0]["field"]
        return field

    def events(self) -> list[Event]:
        """All events of a stream that has ended."""
        assert self.status == 200
        assert self.headers["content-type"].partition(";")[0] == "text/event-stream"
        frames = self.text.split("\n\n")
        assert frames.pop() == ""
        return [read_frame(frame, self._wire) for frame in frames if not frame.startswith(":")]


class Client:
    """Speaks one version of A2A with one server."""

    def __init__(self, http: httpx.AsyncClient, wire: Wire, script: Script) -> None:
        self.http = http
        self.wire = wire
        self.script = script

    def message(self, *parts: Json, role: str = "user", **fields: Json) -> Json:
        """Return a message; texts may stand for their parts, and fields are named as on the wire."""
        said = [self.wire.text(part) if isinstance(part, str) else part for part in parts]
        fixed = {"messageId": "message-1", "role": self.wire.role(role), "parts": said}
        return fixed | fields

    def params(self, *parts: Json, configuration: Json = None, **fields: Json) -> Json:
        """Return the parameters of send and stream; ``fields`` are those of the message."""
        params = {"message": self.message(*parts, **fields)}
        return params if configuration is None else params | {"configuration": configuration}

    async def post(self, content: bytes | str | Json, path: str = "/a2a", **headers: str) -> Reply:
        """Post anything; what is neither bytes nor a string is written as JSON."""
        body = content if isinstance(content, bytes | str) else json.dumps(content)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        all_headers = {"Content-Type": "application/json"} | self.wire.headers | named
        response = await self.http.post(path, content=body, headers=all_headers)
        # In process nothing else makes sure that whoever asks again lets the server run in between.
        await checkpoint()
        return Reply(response, self.wire)

    async def call(self, method: str, params: Json, **headers: str) -> Reply:
        """Call a method, such as ``wire.send``."""
        return await self.post(call(method, params), **headers)

    async def send(self, *parts: Json, **fields: Json) -> Json:
        """Send a message; returns {"task": ...} or {"message": ...}."""
        return (await self.call(self.wire.send, self.params(*parts, **fields))).sent

    async def send_task(self, *parts: Json, **fields: Json) -> Json:
        """Send a message that becomes or continues a task; returns the task."""
        return (await self.send(*parts, **fields))["task"]

    async def refused(self, *parts: Json, **fields: Json) -> Reply:
        """Send a message that is not accepted, whichever way; the answer is the same."""
        params = self.params(*parts, **fields)
        streamed, sent = [
            await self.call(method, params) for method in (self.wire.stream, self.wire.send)
        ]
        assert streamed.error == sent.error
        assert streamed.status == sent.status
        return sent

    async def get(self, task_id: str, **params: Json) -> Reply:
        """Get a task."""
        return await self.call(self.wire.get, {"id": task_id} | params)

    async def streamed(self, *parts: Json, **fields: Json) -> list[Event]:
        """Stream a message to the end; returns all events at once."""
        return (await self.call(self.wire.stream, self.params(*parts, **fields))).events()

    @asynccontextmanager
    async def streaming(self, *parts: Json, **fields: Json) -> AsyncIterator[AsyncIterator[Event]]:
        """Stream a message; events are read as they come, for which the server must be on a socket."""
        body = call(self.wire.stream, self.params(*parts, **fields))
        async with self.http.stream(
            "POST", "/a2a", json=body, headers=self.wire.headers
        ) as response:
            assert response.status_code == 200
            yield _read_stream(response, self.wire)

    async def settled(self, task_id: str) -> Json:
        """Return the task when it has ended or waits."""
        while True:
            task = (await self.get(task_id)).task
            if task["status"]["state"] not in {"TASK_STATE_SUBMITTED", "TASK_STATE_WORKING"}:
                return task


def call(method: str, params: Json, call_id: Json = 1) -> Json:
    """Return a JSON-RPC request."""
    return {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}


def read_frame(frame: str, wire: Wire) -> Event:
    """Read one server-sent event that holds a result."""
    fields = dict(line.split(": ", 1) for line in frame.split("\n"))
    assert fields.keys() <= {"id", "data"}
    body = json.loads(fields["data"])
    assert body.keys() == {"jsonrpc", "id", "result"}, frame
    seq = int(fields["id"]) if "id" in fields else None
    return Event(seq, wire.read_event(body["result"]), body)


async def _read_stream(response: httpx.Response, wire: Wire) -> AsyncIterator[Event]:
    lines: list[str] = []
    async for line in response.aiter_lines():
        if line:
            lines.append(line)
            continue
        frame = "\n".join(lines)
        lines.clear()
        if not frame.startswith(":"):
            yield read_frame(frame, wire)


@asynccontextmanager
async def in_process(script: Script, wire: Wire = V1_0, **settings: Any) -> AsyncIterator[Client]:
    """Serve ``script`` without a socket: streams arrive whole, when they have ended."""
    with scripted(script) as name, anyio.fail_after(LIMIT):
        app = _app(name, settings)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://agent.test") as http,
        ):
            yield Client(http, wire, script)


@asynccontextmanager
async def on_socket(script: Script, wire: Wire = V1_0, **settings: Any) -> AsyncIterator[Client]:
    """Serve ``script`` on a loopback port."""
    with scripted(script) as name, anyio.fail_after(LIMIT):
        async with (
            run_server(_app(name, settings)) as url,
            httpx.AsyncClient(base_url=url) as http,
        ):
            yield Client(http, wire, script)


def _app(name: str, settings: dict[str, Any]) -> Starlette:
    return create_app(Settings(**{"name": name, "stack": STACK, "a2a_state": MEMORY} | settings))
