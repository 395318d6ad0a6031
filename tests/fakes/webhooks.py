"""Webhooks that answer as they are told, and tasks whose events are stored for them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from a2a_state.journal import Entry, EventRow
from a2a_state.push_configs import PushConfigs
from a2a_state.tasks import Tasks
from agent.caller import Caller
from agent.feed import STORED
from agent.model import (
    TERMINAL,
    Artifact,
    ArtifactUpdate,
    Message,
    Part,
    PushConfig,
    Role,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
)
from agent.push.push import Push
from agent.settings import Settings
from tests.fakes.server import run_server
from tests.fakes.state import task_row, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from starlette.types import Receive, Scope, Send

    from a2a_state.database import Database
    from a2a_state.journal import Journal
    from a2a_state.push_configs import PushConfigRow
    from agent.model import Event, Metadata

    type Answer = int | tuple[int, dict[str, str]] | Callable[[], Awaitable[int]]

ANN = Caller("ann")


class Posted(msgspec.Struct, frozen=True):
    """What was posted; the names of headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return msgspec.json.decode(self.body)

    @property
    def brief(self) -> str:
        """Which event it is: the state of a task or status, or the text of an artifact."""
        said = self.json
        if "artifactUpdate" in said:
            return str(said["artifactUpdate"]["artifact"]["parts"][0]["text"])
        status = (said.get("task") or said.get("statusUpdate") or said)["status"]
        return str(status["state"]).removeprefix("TASK_STATE_").lower()


class Webhook:
    """An ASGI application; ``answers`` are given one after another, and 204 when there is none left.

    An answer is a status, with headers if need be, or a coroutine function that returns one.
    """

    def __init__(self, *answers: Answer) -> None:
        """Nothing was posted yet."""
        self.answers = list(answers)
        self.posted: list[Posted] = []
        self.url = ""
        self._more = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await _lifespan(receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.posted.append(Posted(scope["path"], headers, body))
        self._more.set()
        answer = self.answers.pop(0) if self.answers else 204
        if callable(answer):
            answer = await answer()
        status, own = answer if isinstance(answer, tuple) else (answer, {})
        named = [(name.encode(), value.encode()) for name, value in own.items()]
        await send({"type": "http.response.start", "status": status, "headers": named})
        await send({"type": "http.response.body", "body": b""})

    async def hears(self, count: int, seconds: float = 10) -> list[str]:
        """Wait until so much was posted; returns what, in brief."""
        with anyio.fail_after(seconds):
            while len(self.posted) < count:
                self._more.clear()
                await self._more.wait()
        return [each.brief for each in self.posted]


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


@asynccontextmanager
async def serve(*answers: Answer) -> AsyncIterator[Webhook]:
    """Serve a webhook on a loopback port; its ``url`` says where."""
    webhook = Webhook(*answers)
    async with run_server(webhook) as url:
        webhook.url = f"{url}/hook"
        yield webhook


class Story:
    """A task of ann's whose events are stored by ``tell``."""

    def __init__(self, journal: Journal, task_id: str = "task") -> None:
        """Nothing is stored yet."""
        self.task_id = task_id
        self.seq = 0
        self._journal = journal
        self._state = TaskState.SUBMITTED

    async def tell(self, *events: Event) -> None:
        """Store events in one transaction, as a run does."""
        first, self.seq = self.seq + 1, self.seq + len(events)
        for event in events:
            if isinstance(event, Task | StatusUpdate):
                self._state = event.status.state
        body = b"[" + b",".join(STORED.event(event) for event in events) + b"]"
        row = task_row(
            self.task_id,
            seq=self.seq,
            state=self._state.value,
            ended_at=1 if self._state in TERMINAL else None,
            is_new=first == 1,
        )
        (error,) = await write(
            self._journal, Entry(row, EventRow(self.task_id, first, self.seq, body))
        )
        assert error is None

    async def begin(self) -> None:
        """Store the task."""
        await self.tell(self.task())

    async def end(self) -> None:
        """Store its completion."""
        await self.tell(self.status(TaskState.COMPLETED))

    def task(self, state: TaskState = TaskState.SUBMITTED) -> Task:
        """Return the task as of its beginning."""
        asked = Message("m-1", Role.USER, [Part(text="Hi")], "context", self.task_id)
        status = TaskStatus(state, timestamp="2026-01-31T12:00:00.000Z")
        return Task(self.task_id, "context", status, history=[asked])

    def status(
        self, state: TaskState, text: str | None = None, metadata: Metadata = None
    ) -> StatusUpdate:
        """Return a status, with a message of the agent if there is a text."""
        message = None if text is None else Message("m-2", Role.AGENT, [Part(text=text)])
        status = TaskStatus(state, message, "2026-01-31T12:00:01.000Z")
        return StatusUpdate(self.task_id, "context", status, metadata)

    def artifact(self, *pieces: str, last: bool = True) -> Iterable[ArtifactUpdate]:
        """Return the updates of one artifact."""
        for index, piece in enumerate(pieces):
            artifact = Artifact("answer", [Part(text=piece)])
            is_last = last and index == len(pieces) - 1
            yield ArtifactUpdate(self.task_id, "context", artifact, index > 0, is_last)


class Clock:
    """Milliseconds that pass when they are told to."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        """Return the time."""
        return self.now


def settings(**push: Any) -> Settings:
    """Return settings under which loopback may be called, and failures are tried again at once."""
    given = {"allow": ("127.0.0.0/8",), "backoff_seconds": 0.001, **push}
    return Settings.model_validate({"push": given})


@asynccontextmanager
async def open_push(
    database: Database, configured: Settings | None = None, **more: Any
) -> AsyncIterator[Push]:
    """Run a sender of push notifications."""
    push = Push(configured or settings(), database, Tasks(database), **more)
    await push.open()
    try:
        yield push
    finally:
        await push.close()


def config(url: str, task_id: str = "task", **more: Any) -> PushConfig:
    """Return a configuration, of A2A 1.0 unless it says otherwise."""
    return PushConfig(**{"url": url, "version": "1.0", "task_id": task_id, **more})


async def rests(database: Database, task_id: str = "task", **expected: Any) -> PushConfigRow:
    """Wait until the one configuration of a task is not being served and is as expected; returns it."""
    with anyio.fail_after(10):
        while True:
            (row,) = await PushConfigs(database).get("ann", "", task_id)
            if not row.lease_until and all(getattr(row, k) == v for k, v in expected.items()):
                return row
            await anyio.lowlevel.checkpoint()
