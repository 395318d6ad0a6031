"""The load: a closed loop of N connections, one request in flight on each, every answer checked.

An answer counts when it is HTTP 200, carries the id of its request, and says exactly what the stack
under load was asked to say; a stream must bring each chunk once and in order, then the completed
status, then its proper end. A fast wrong server cannot win.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from tests.load.connection import Connection, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MOST_ERRORS = 5
PATIENCE_SECONDS = 60


class Part(msgspec.Struct):
    """Only text is expected."""

    text: str


class Artifact(msgspec.Struct):
    """An artifact, or the piece of one that an update appends."""

    parts: list[Part]


class Status(msgspec.Struct):
    """A task's status."""

    state: str


class Value(msgspec.Struct, rename="camel"):
    """A task, a message, or an update of a task: what tells them apart is which fields are set."""

    id: str = ""
    task_id: str = ""
    status: Status | None = None
    artifacts: list[Artifact] = []
    artifact: Artifact | None = None
    final: bool = False
    parts: list[Part] = []


class Result(Value, rename="camel"):
    """0.3 puts the value here, 1.0 below a name."""

    task: Value | None = None
    message: Value | None = None
    status_update: Value | None = None
    artifact_update: Value | None = None

    @property
    def value(self) -> Value:
        """What the answer is about, in either version."""
        return self.task or self.artifact_update or self.status_update or self.message or self


class Reply(msgspec.Struct):
    """A JSON-RPC answer."""

    id: int
    result: Result | None = None


_decode = msgspec.json.Decoder(Reply).decode


@dataclass(frozen=True)
class Dialect:
    """How one version of A2A says the requests and the one state that is expected."""

    version: str
    send: str
    stream: str
    get: str
    message: str
    completed: str


DIALECTS = {
    "0.3": Dialect(
        "0.3",
        "message/send",
        "message/stream",
        "tasks/get",
        '{"message":{"kind":"message","messageId":"%s","role":"user",'
        '"parts":[{"kind":"text","text":"%s"}]},"configuration":{"blocking":true}}',
        "completed",
    ),
    "1.0": Dialect(
        "1.0",
        "SendMessage",
        "SendStreamingMessage",
        "GetTask",
        '{"message":{"messageId":"%s","role":"ROLE_USER","parts":[{"text":"%s"}]}}',
        "TASK_STATE_COMPLETED",
    ),
}


@dataclass
class Measured:
    """What one run of a mode came to; ``events`` counts those of streams."""

    operations: int = 0
    events: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)


class Load:
    """Operations against the server at ``port``, in one version of A2A."""

    def __init__(self, port: int, version: str = "1.0", chunks: int = 200) -> None:
        """``chunks`` is the length of the streamed answers."""
        self._port = port
        self._dialect = DIALECTS[version]
        self._chunks = chunks
        self._number = 0
        self._message_ids = f"{secrets.token_hex(4)}-0000-4000-8000-"
        self._task_id = ""

    async def measure(
        self, mode: str, *, seconds: float, connections: int = 32, most: int = 1_000_000_000
    ) -> Measured:
        """Repeat ``send``, ``get`` or ``stream`` on each connection, ``most`` times in all."""
        operation: Callable[[Connection], Awaitable[int]] = getattr(self, mode)
        opened = [Connection(self._port) for _ in range(connections)]
        measured = Measured()
        started = time.perf_counter()
        until = started + seconds

        async def repeat(connection: Connection) -> None:
            while (
                measured.operations < most
                and len(measured.errors) < MOST_ERRORS
                and time.perf_counter() < until
            ):
                try:
                    events = await operation(connection)
                    measured.events += events
                    measured.operations += 1
                except (WrongAnswerError, OSError, msgspec.DecodeError) as exc:
                    measured.errors.append(f"{type(exc).__name__}: {exc}")
                    connection.close()

        try:
            if mode == "get":
                await self.send(opened[0])
            async with asyncio.timeout(seconds + PATIENCE_SECONDS):
                await asyncio.gather(*map(repeat, opened))
        except TimeoutError:
            measured.errors.append(f"no answer within {PATIENCE_SECONDS} seconds")
        finally:
            for connection in opened:
                connection.close()
        measured.seconds = time.perf_counter() - started
        return measured

    async def send(self, connection: Connection) -> int:
        """Send a message that becomes a task, and wait for its end."""
        text = f"hello {self._number}"
        value = await self._call(connection, self._dialect.send, self._message(text))
        self._check_completed(value)
        self._expect(f"echo: {text}", _text(value))
        self._task_id = value.id
        return 0

    async def get(self, connection: Connection) -> int:
        """Get the last task that ``send`` made."""
        value = await self._call(connection, self._dialect.get, f'{{"id":"{self._task_id}"}}')
        self._check_completed(value)
        self._expect(self._task_id, value.id)
        return 0

    async def ask(self, connection: Connection, text: str) -> str:
        """Return the answer to a message that the stack answers without a task."""
        value = await self._call(connection, self._dialect.send, self._message(text))
        return "".join(part.text for part in value.parts)

    async def stream(self, connection: Connection, pause_ms: int = 0) -> int:
        """Stream an answer, ``pause_ms`` between its chunks; returns how many events came."""
        words = f"hello {self._number}"
        kind = f"pace:{self._chunks}:{pause_ms}" if pause_ms else f"stream:{self._chunks}"
        body = self._request(self._dialect.stream, self._message(f"{kind}:{words}"))
        number = self._number
        values = _events(await self._post(connection, body), number)
        task_ids = {value.task_id or value.id for value in values}
        self._expect(1, len(task_ids))
        parts = [part for value in values if value.artifact for part in value.artifact.parts]
        chunks = [part.text for part in parts if part.text]  # the last update may only close it
        for i, chunk in enumerate(chunks):
            self._expect(f"echo: {words} {i:04d}", chunk)
        self._expect(self._chunks, len(chunks))
        self._check_completed(values[-1])
        self._expect(self._dialect.version == "0.3", values[-1].final)
        return len(values)

    async def _post(self, connection: Connection, body: bytes) -> bytes:
        return await connection.post("/a2a", {"A2A-Version": self._dialect.version}, body)

    def _message(self, text: str) -> str:
        return self._dialect.message % (f"{self._message_ids}{self._number:012x}", text)

    def _request(self, method: str, params: str) -> bytes:
        self._number += 1
        head = f'{{"jsonrpc":"2.0","id":{self._number},"method":"{method}","params":'
        return f"{head}{params}}}".encode()

    async def _call(self, connection: Connection, method: str, params: str) -> Value:
        body = self._request(method, params)
        number = self._number
        return _value(await self._post(connection, body), number)

    def _check_completed(self, value: Value) -> None:
        self._expect(self._dialect.completed, value.status.state if value.status else None)

    @staticmethod
    def _expect(expected: object, got: object) -> None:
        if got != expected:
            raise WrongAnswerError(f"expected {expected!r:.200}, got {got!r:.200}")


def _text(task: Value) -> str:
    return "".join(part.text for artifact in task.artifacts for part in artifact.parts)


def _value(body: bytes, number: int) -> Value:
    reply = _decode(body)
    if reply.id != number or reply.result is None:
        raise WrongAnswerError(f"no result for request {number}: {body[:200]!r}")
    return reply.result.value


def _events(body: bytes, number: int) -> list[Value]:
    """Return what each event says; comments and the ``id`` of an event are left out."""
    lines = [line for line in body.split(b"\n") if line.startswith(b"data:")]
    if not lines or not body.endswith(b"\n\n"):
        raise WrongAnswerError(f"not a whole event stream: {body[-200:]!r}")
    return [_value(line[5:], number) for line in lines]
