"""The application in process, called without an HTTP client: nothing mends what is sent."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, override
from urllib.parse import unquote_to_bytes

import anyio
import msgspec

from agent.app import create_app
from agent.settings import Settings
from agent.stacks import DirectMessage, InputRequired, TextDelta, TextPart
from tests.conformance.channels import rpc_call
from tests.conformance.wire_1_0 import V1_0
from tests.fakes.scripted_stack import DONE, STACK, Script, scripted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from agent.stacks import TurnEvent, TurnRequest
    from tests.conformance.wire import Json
    from tests.fuzz.request import Sent

ANSWER_SECONDS = 20
RENEWED_EVERY = 40
HOLD = "hold: never ends by itself"
TENANT = "acme"
NAMES = ("@completed", "@canceled", "@waiting", "@working")
"""What stands for the ids of tasks in requests until they are sent: ids are different each time."""

SETTINGS: dict[str, Any] = {
    "a2a_state": {"memory": True},
    # A stream is left at its first sign of silence.
    "a2a": {"keep_alive_seconds": 0.02, "tenants": (TENANT,)},
    # Nobody waits for a task that never ends.
    "limits": {"queue_seconds": 0, "body_bytes": 500_000},
    "push": {"allow": ("127.0.0.1",), "attempts": 1, "timeout_seconds": 1},
}

type Headers = list[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """What came back; ``left`` says that the client went away from a stream."""

    status: int
    headers: dict[str, str]
    body: bytes
    left: bool

    @property
    def content_type(self) -> str:
        """The media type."""
        return self.headers.get("content-type", "").partition(";")[0]


class Errors(logging.Handler):
    """Remembers what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def taken(self) -> list[str]:
        """Return what was said since the last time."""
        said, self.said = self.said, []
        return said

    @override
    def emit(self, record: logging.LogRecord) -> None:
        # That nobody is at the webhooks of these tests is told, and no fault.
        if record.exc_info or not record.name.startswith("agent.push"):
            self.said.append(self.format(record))


class Served:
    """The application, with a task in every state."""

    def __init__(self, app: ASGIApp, errors: Errors) -> None:
        self.errors = errors
        self._app = app
        self._tasks: dict[str, str] = {}
        self._asked = 0

    async def ask(self, request: Sent) -> Answer:
        """Send one request; a client that hears nothing new on a stream goes away."""
        if self._asked % RENEWED_EVERY == 0:
            await self._renew()
        self._asked += 1
        path, _, query = self.named(request.target.encode()).partition(b"?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": unquote_to_bytes(path).decode(errors="replace"),
            "raw_path": path,
            "root_path": "",
            "query_string": query,
            "headers": request.headers,
            "client": ("127.0.0.1", 1),
            "server": ("agent.test", 80),
            "state": {},
        }
        return await self._exchange(scope, self.named(request.body))

    async def still_answers(self) -> None:
        """Ask what any client asks."""
        answer = await self._rpc("send", {"message": _message("still there?")})
        assert answer["task"]["artifacts"][0]["parts"] == [{"text": "still there?"}]

    async def _exchange(self, scope: dict[str, Json], body: bytes) -> Answer:
        requests: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Message] = []
        leaving = asyncio.Event()

        async def receive() -> Message:
            if requests:
                return requests.pop()
            await leaving.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)
            if message.get("body", b"").startswith(b":"):
                leaving.set()

        with anyio.fail_after(ANSWER_SECONDS):
            # A task of its own, as servers have it.
            await asyncio.create_task(self._call(scope, receive, send))
        start, *rest = sent
        names = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        body = b"".join(message["body"] for message in rest)
        return Answer(start["status"], names, body, leaving.is_set())

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def named(self, content: bytes) -> bytes:
        """Put the ids of tasks in the place of their names."""
        for name, task_id in self._tasks.items():
            content = content.replace(name.encode(), task_id.encode())
            content = content.replace(name.replace("@", "%40").encode(), task_id.encode())
        return content

    async def _renew(self) -> None:
        """Make new tasks in place of those that requests may have changed."""
        old, self._tasks = self._tasks, {}
        for name in ("@waiting", "@working"):
            if name in old:
                await self._rpc("cancel", {"id": old[name]})
        texts = {"@completed": "hello", "@canceled": "ask", "@waiting": "ask", "@working": HOLD}
        made = {name: await self._made(text) for name, text in texts.items()}
        await self._rpc("cancel", {"id": made["@canceled"]})
        config = {"taskId": made["@waiting"], "id": "config", "url": "http://127.0.0.1:1024/hook"}
        await self._rpc("create_push", config)
        self._tasks = made

    async def _made(self, text: str) -> str:
        configuration = {"returnImmediately": text == HOLD}
        params = {"message": _message(text), "configuration": configuration}
        task_id: str = (await self._rpc("send", params))["task"]["id"]
        return task_id

    async def _rpc(self, operation: str, params: Json) -> Json:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/a2a",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json"), (b"a2a-version", b"1.0")],
            "state": {},
        }
        body = msgspec.json.encode(rpc_call(V1_0.methods[operation], params))
        answer = msgspec.json.decode((await self._exchange(scope, body)).body)
        # What has ended meanwhile cannot be canceled.
        return answer.get("result") if operation == "cancel" else answer["result"]


def _message(text: str) -> Json:
    return {"messageId": "plain", "role": "ROLE_USER", "parts": [{"text": text}]}


async def _turn(request: TurnRequest) -> AsyncGenerator[TurnEvent]:
    """Say what was said, ask, answer without a task, or never end."""
    text = "".join(part.text for part in request.parts if isinstance(part, TextPart))
    if text == HOLD:
        yield TextDelta("holding")
        await asyncio.Event().wait()
    if text == "ask" or request.resume is not None:
        yield InputRequired("Which?", {"type": "tool_calls", "tool_calls": []})
    elif text == "message":
        yield DirectMessage((TextPart("just a message"),))
    else:
        yield TextDelta(text or "nothing")
        yield DONE


@asynccontextmanager
async def served() -> AsyncIterator[Served]:
    """Serve from memory."""
    errors = Errors()
    with scripted(Script(_turn)) as name:
        settings = Settings(name=name, stack=STACK, **SETTINGS)
        app = create_app(settings)
        logging.getLogger().addHandler(errors)
        try:
            async with app.router.lifespan_context(app):
                yield Served(app, errors)
        finally:
            logging.getLogger().removeHandler(errors)
