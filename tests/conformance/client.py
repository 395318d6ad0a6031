"""A client of the server under test, in process or on a socket, with the script of its stack at hand."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import grpc
import httpx
from sqlalchemy.engine import URL

from a2a_state.database import connect
from a2a_state.migrate import migrate
from agent.app import create_app
from agent.settings import Settings
from tests.conformance._requirements.row import GRPC, JSON_RPC
from tests.conformance.channels import RestChannel, RpcChannel, rpc_call
from tests.conformance.grpc_channel import GrpcChannel
from tests.conformance.reply import LEAKS, Event, Reply, RpcReply
from tests.conformance.wire_1_0 import V1_0
from tests.fakes.scripted_stack import STACK, Script, scripted
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from tests.conformance.channels import Channel
    from tests.conformance.wire import Json, Wire

__all__ = ["LEAKS", "Client", "Event", "Reply", "call", "in_process", "on_socket"]

LIMIT = 10
"""Seconds for whatever a test does with a server: none waits for ever."""

call = rpc_call
# The one that is packaged is YAML, which takes its time to read; the tests of cards read it.
CARD: dict[str, Any] = {
    "name": "scripted",
    "description": "Says what it is told to.",
    "skills": [{"id": "say", "name": "Say", "description": "Says it.", "tags": ["test"]}],
}
PACKAGED: dict[str, Any] = {"customization": {}}
# A database that has been migrated: to do that for every test would cost more than most of them do.
_MIGRATED: list[bytes] = []


class Server(NamedTuple):
    """Where the server under test is."""

    http: httpx.AsyncClient
    grpc: grpc.aio.Channel | None


class Client:
    """Speaks one wire with one server."""

    def __init__(self, server: Server, wire: Wire, script: Script) -> None:
        self.server = server
        self.http = server.http
        self.wire = wire
        self.script = script
        self.credentials: dict[str, str] = {}
        self.rpc = RpcChannel(server.http, wire)
        self.channel = self._channel()

    def _channel(self) -> Channel:
        if self.wire.binding == JSON_RPC:
            return self.rpc
        if self.wire.binding == GRPC:
            assert self.server.grpc is not None
            return GrpcChannel(self.server.grpc, self.wire)
        return RestChannel(self.http, self.wire)

    def speaking(self, wire: Wire) -> Client:
        """Return a client of the same server that speaks another wire."""
        other = Client(self.server, wire, self.script)
        other.credentials = self.credentials
        return other

    def showing(self, credentials: dict[str, str]) -> Client:
        """Return a client of the same server that shows these headers with all that it asks."""
        other = Client(self.server, self.wire, self.script)
        other.credentials = credentials
        return other

    def message(self, *parts: Json, role: str = "user", **fields: Json) -> Json:
        """Return a message; texts may stand for their parts, and fields are named as on the wire."""
        said = [self.wire.text(part) if isinstance(part, str) else part for part in parts]
        fixed = {"messageId": "message-1", "role": self.wire.role(role), "parts": said}
        # The published schema of 0.3 requires it.
        kind = {"kind": "message"} if self.wire.version == "0.3" else {}
        return fixed | kind | fields

    def params(self, *parts: Json, configuration: Json = None, **fields: Json) -> Json:
        """Return the parameters of send and stream; ``fields`` are those of the message."""
        params = {"message": self.message(*parts, **fields)}
        return params if configuration is None else params | {"configuration": configuration}

    def headers(self, named: dict[str, str]) -> dict[str, str]:
        """Return the headers of the wire, and those given with ``_`` for ``-``."""
        given = {name.replace("_", "-"): value for name, value in named.items()}
        return dict(self.wire.headers) | self.credentials | given

    async def post(
        self, content: bytes | str | Json, path: str = "/a2a", **headers: str
    ) -> RpcReply:
        """Post anything to JSON-RPC; what is neither bytes nor a string is written as JSON."""
        return await self.rpc.post(content, path, self.headers(headers))

    async def call(self, method: str, params: Json, **headers: str) -> Reply:
        """Call a method, such as ``wire.send``."""
        return await self.channel.call(method, params, self.headers(headers))

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

    async def listed(self, **params: Json) -> Json:
        """List tasks; returns the page in the words of 1.0."""
        return self.wire.read_page((await self.call(self.wire.methods["list"], params)).result)

    async def cancel(self, task_id: str) -> Reply:
        """Cancel a task."""
        return await self.call(self.wire.methods["cancel"], {"id": task_id})

    async def streamed(self, *parts: Json, **fields: Json) -> list[Event]:
        """Stream a message to the end; returns all events at once."""
        return (await self.call(self.wire.stream, self.params(*parts, **fields))).events()

    def streaming(
        self, *parts: Json, **fields: Json
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Stream a message; events are read as they come, for which the server must be on a socket."""
        params = self.params(*parts, **fields)
        return self.channel.streaming(self.wire.stream, params, self.headers({}))

    def subscribing(
        self, task_id: str, **headers: str
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Subscribe to a task; as for ``streaming``."""
        method = self.wire.methods["subscribe"]
        return self.channel.streaming(method, {"id": task_id}, self.headers(headers))

    async def subscribed(self, task_id: str, **headers: str) -> Reply:
        """Subscribe to a task until the stream ends."""
        return await self.call(self.wire.methods["subscribe"], {"id": task_id}, **headers)

    async def create_push(self, task_id: str, config: Json) -> Reply:
        """Give a task a push notification configuration that the wire has written."""
        params = self.wire.push_params(task_id, config)
        return await self.call(self.wire.methods["create_push"], params)

    async def get_push(self, task_id: str, config_id: str) -> Reply:
        """Get one of a task's configurations."""
        params = self.wire.push_id_params(task_id, config_id)
        return await self.call(self.wire.methods["get_push"], params)

    async def list_push(self, task_id: str) -> Reply:
        """List a task's configurations."""
        params = self.wire.push_task_params(task_id)
        return await self.call(self.wire.methods["list_push"], params)

    async def delete_push(self, task_id: str, config_id: str) -> Reply:
        """Delete one of a task's configurations."""
        params = self.wire.push_id_params(task_id, config_id)
        return await self.call(self.wire.methods["delete_push"], params)

    async def settled(self, task_id: str) -> Json:
        """Return the task when it has ended or waits."""
        while True:
            task = (await self.get(task_id)).task
            if task["status"]["state"] not in {"TASK_STATE_SUBMITTED", "TASK_STATE_WORKING"}:
                return task


@asynccontextmanager
async def in_process(script: Script, wire: Wire = V1_0, **settings: Any) -> AsyncIterator[Client]:
    """Serve ``script`` without a socket for HTTP: streams of it arrive whole, when they have ended."""
    with anyio.fail_after(LIMIT):
        async with serving(script, wire, **settings) as client:
            yield client


@asynccontextmanager
async def serving(script: Script, wire: Wire, **settings: Any) -> AsyncIterator[Client]:
    """As ``in_process``, for as long as it takes."""
    async with AsyncExitStack() as opened:
        name = opened.enter_context(scripted(script))
        channel = await _grpc(wire, settings, opened)
        app = create_app(await _settings(name, settings, opened))
        await opened.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app)
        http = httpx.AsyncClient(transport=transport, base_url="http://agent.test")
        await opened.enter_async_context(http)
        yield Client(Server(http, channel), wire, script)


@asynccontextmanager
async def on_socket(script: Script, wire: Wire = V1_0, **settings: Any) -> AsyncIterator[Client]:
    """Serve ``script`` on a loopback port."""
    with anyio.fail_after(LIMIT):
        async with AsyncExitStack() as opened:
            name = opened.enter_context(scripted(script))
            channel = await _grpc(wire, settings, opened)
            app = create_app(await _settings(name, settings, opened))
            url = await opened.enter_async_context(run_server(app))
            http = await opened.enter_async_context(httpx.AsyncClient(base_url=url))
            yield Client(Server(http, channel), wire, script)


async def _grpc(
    wire: Wire, settings: dict[str, Any], opened: AsyncExitStack
) -> grpc.aio.Channel | None:
    """Choose a port for gRPC, where it is to be spoken."""
    if wire.binding != GRPC:
        return None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    settings["a2a"] = {"grpc_port": port} | settings.get("a2a", {})
    settings["service"] = {"host": "127.0.0.1"} | settings.get("service", {})
    return await opened.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))


async def _settings(name: str, settings: dict[str, Any], opened: AsyncExitStack) -> Settings:
    if "a2a_state" not in settings:
        folder = Path(opened.enter_context(TemporaryDirectory()))
        settings |= {"a2a_state": {"sqlite": {"db_path": await _empty_database(folder)}}}
    usual = {"name": name, "stack": STACK, "customization": {"agent_card_config": CARD}}
    return Settings(**usual | settings)


async def _empty_database(folder: Path) -> Path:
    path = folder / "state.db"
    if not _MIGRATED:
        database = connect(URL.create("sqlite", database=str(path)))
        await database.open()
        await migrate(database)
        await database.close()
        _MIGRATED.append(path.read_bytes())
    path.write_bytes(_MIGRATED[0])
    return path
