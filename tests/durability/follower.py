"""A client that follows its task whatever becomes of the server, and keeps what it heard."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import httpx

from tests.conformance.channels import rpc_call
from tests.conformance.reply import RpcReply, read_frame
from tests.conformance.wire_1_0 import V1_0

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from tests.conformance.reply import Event
    from tests.conformance.wire import Json, Wire

AGAIN_SECONDS = 0.05
ENDS = {f"TASK_STATE_{name}" for name in ("COMPLETED", "FAILED", "CANCELED", "REJECTED")}
WAITS = {"TASK_STATE_INPUT_REQUIRED"}
# A server that stops, and a stream that ends while its task goes on.
COME_BACK = {-32053, -32054}


class Broken(Exception):
    """A stream ended before the task did; ``said`` is the error that the server sent."""

    def __init__(self, said: Json) -> None:
        super().__init__(said)
        self.said = said


class Story:
    """What the events of one task tell, from the first that was heard on."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.texts: dict[str, str] = {}
        self.state = ""
        self.task_id = ""

    @property
    def last_seq(self) -> int | None:
        """The number of the last event."""
        return self.events[-1].seq if self.events else None

    @property
    def text(self) -> str:
        """The text of all artifacts."""
        return "".join(self.texts.values())

    @property
    def ends(self) -> list[str]:
        """The terminal states that were told."""
        states = [event.result["statusUpdate"] for event in self.events if _is_status(event)]
        return [told["status"]["state"] for told in states if told["status"]["state"] in ENDS]

    def hear(self, event: Event) -> None:
        """Take in one event; each number is higher than the one before."""
        assert event.seq is not None
        assert self.last_seq is None or event.seq > self.last_seq
        self.events.append(event)
        ((kind, said),) = event.result.items()
        if kind == "task":
            assert len(self.events) == 1
            self.task_id = said["id"]
            self.state = said["status"]["state"]
            self.texts = texts_of(said)
        elif kind == "statusUpdate":
            assert self.state not in ENDS
            self.state = said["status"]["state"]
        else:
            self._grow(said)

    def _grow(self, update: Json) -> None:
        artifact_id = update["artifact"]["artifactId"]
        text = _text(update["artifact"])
        before = self.texts.get(artifact_id, "") if update.get("append") else ""
        self.texts[artifact_id] = before + text


class Follower:
    """Sends one message, and follows its task to the end over as many connections as it takes."""

    def __init__(self, http: httpx.AsyncClient, text: str, wire: Wire = V1_0) -> None:
        self.story = Story()
        self.text = text
        self.connections = 0
        self.errors: list[Json] = []
        self._http = http
        self._wire = wire
        self._params = {"message": message(wire, text, str(uuid.uuid4()))}

    async def follow(self) -> None:
        """Return when the task has ended, or waits."""
        while True:
            try:
                async with self._stream() as events:
                    async for event in events:
                        self.story.hear(event)
                if self.story.state in ENDS | WAITS:
                    return
            except httpx.TransportError:
                pass
            except Broken as broken:
                if broken.said["code"] not in COME_BACK:
                    raise
                self.errors.append(broken.said)
            await anyio.sleep(AGAIN_SECONDS)

    @asynccontextmanager
    async def _stream(self) -> AsyncIterator[AsyncIterator[Event]]:
        self.connections += 1
        if self.story.last_seq is None:
            # Whether the server heard of the message is unknown: it is sent again as it was.
            async with streaming(self._http, self._wire, "stream", self._params) as events:
                yield events
        else:
            after = self.story.last_seq
            async with subscribing(self._http, self._wire, self.story.task_id, after) as events:
                yield events


def message(wire: Wire, text: str, message_id: str, **fields: Json) -> Json:
    """Return a message of the user's."""
    kind = {"kind": "message"} if wire.version == "0.3" else {}
    said = {"messageId": message_id, "role": wire.role("user"), "parts": [wire.text(text)]}
    return said | kind | fields


def texts_of(task: Json) -> dict[str, str]:
    """Return the text of each artifact of a task."""
    return {artifact["artifactId"]: _text(artifact) for artifact in task.get("artifacts", [])}


@asynccontextmanager
async def streaming(
    http: httpx.AsyncClient, wire: Wire, operation: str, params: Json, **headers: str
) -> AsyncIterator[AsyncIterator[Event]]:
    """Call a method that streams. Raises ``Broken`` for an error."""
    body = rpc_call(wire.methods[operation], params)
    named = dict(wire.headers) | {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.stream("POST", "/a2a", json=body, headers=named) as response:
        if not response.headers["content-type"].startswith("text/event-stream"):
            await response.aread()
            raise Broken(RpcReply(response, wire).error)
        yield _frames(response, wire)


def subscribing(
    http: httpx.AsyncClient, wire: Wire, task_id: str, after: int | None = None
) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
    """Subscribe to a task, from its present state or from an event on."""
    headers = {} if after is None else {"Last_Event_ID": str(after)}
    return streaming(http, wire, "subscribe", {"id": task_id}, **headers)


async def story_of(http: httpx.AsyncClient, task_id: str, wire: Wire = V1_0) -> Story:
    """Read the log of a task that has ended, from its beginning."""
    story = Story()
    async with subscribing(http, wire, task_id, 0) as events:
        async for event in events:
            story.hear(event)
    return story


async def called(
    http: httpx.AsyncClient, operation: str, params: Json, wire: Wire = V1_0, **headers: str
) -> RpcReply:
    """Call a method that answers once."""
    named = dict(wire.headers) | {name.replace("_", "-"): value for name, value in headers.items()}
    body = rpc_call(wire.methods[operation], params)
    return RpcReply(await http.post("/a2a", json=body, headers=named), wire)


async def _frames(response: httpx.Response, wire: Wire) -> AsyncIterator[Event]:
    lines: list[str] = []
    async for line in response.aiter_lines():
        if line:
            lines.append(line)
            continue
        if lines and not lines[0].startswith(":"):
            yield read_frame("\n".join(lines), wire, _unwrap)
        lines.clear()


def _unwrap(body: Json) -> Json:
    if "error" in body:
        raise Broken(body["error"])
    return RpcReply.unwrap(body)


def _is_status(event: Event) -> bool:
    return "statusUpdate" in event.result


def _text(artifact: Json) -> str:
    return "".join(part.get("text", "") for part in artifact["parts"])
