"""A server with a stack that counts, and people who have tasks on it."""

from __future__ import annotations

import base64
import json
import re
import secrets
import uuid
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, override

import grpc
import httpx
from sqlalchemy import Engine, event

from agent.app import create_app
from agent.settings import Settings
from agent.stacks import InputRequired, TextDelta
from tests.fakes.ports import free_port
from tests.fakes.scripted_stack import DONE, Script, ScriptedStack, scripted
from tests.fakes.server import run_server
from tests.isolation.cases import HOOK
from tests.isolation.surfaces import RED, Reached

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from starlette.applications import Starlette

    from agent.stacks import Owner, TurnEvent, TurnRequest
    from tests.isolation.cases import Json
    from tests.isolation.surfaces import Answer

STACK = "tests.isolation.world:CountingStack"
BLUE = "blue"
ASK = "which"
CALL = "call it"
TOOL_CALL = {"call_id": "c", "tool_name": "t", "arguments": "{}"}
PRIVATE = "nobody-else-may-read-this"
# What sends webhooks looks for work whenever there may be some, whoever asks for what meanwhile.
_BESIDE = re.compile(r"^BEGIN|^UPDATE push_configs|next_attempt_at <=")
_NEW = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{48}\b"
    r"|\d{4}-\d\d-\d\dT[0-9:.]+Z"
)


class Counted(Script):
    """Asks back when a message says so; ``calls`` are what reached the stack."""

    def __init__(self) -> None:
        super().__init__(self._turn)
        self.calls: list[str] = []

    async def _turn(self, request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        if any(CALL in getattr(part, "text", "") for part in request.parts):
            yield InputRequired("", {"type": "tool_calls", "tool_calls": [TOOL_CALL]})
            return
        if any(ASK in getattr(part, "text", "") for part in request.parts):
            yield InputRequired("Which?")
            return
        yield TextDelta("yes")
        yield DONE


class CountingStack(ScriptedStack):
    """Counts its calls."""

    script: Counted

    @override
    async def start_conversation(self, owner: Owner) -> str:
        self.script.calls.append("start_conversation")
        return await super().start_conversation(owner)

    @override
    def turn(self, request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        self.script.calls.append("turn")
        return super().turn(request)

    @override
    async def cancel(self, conversation_id: str, turn_id: str) -> None:
        self.script.calls.append("cancel")

    @override
    async def outcome(self, conversation_id: str, turn_id: str) -> None:
        self.script.calls.append("outcome")


class Server(NamedTuple):
    """A server that runs."""

    app: Starlette
    script: Counted
    reached: Reached
    database: str

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """Yield the statements that reach the server's database while the block runs."""
        sent: list[str] = []

        def keep(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            is_here = connection.engine.url.database == self.database
            if is_here and not _BESIDE.search(statement):
                sent.append(statement)

        event.listen(Engine, "before_cursor_execute", keep)
        try:
            yield sent
        finally:
            event.remove(Engine, "before_cursor_execute", keep)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Server]:
    """Serve every surface; the header of rh-identity says on all of them who somebody is."""
    database, port = str(folder / "state.db"), free_port()
    script = Counted()
    async with AsyncExitStack() as opened:
        settings = {
            "name": opened.enter_context(scripted(script)),
            "stack": STACK,
            "service": {"host": "127.0.0.1"},
            "a2a_state": {"sqlite": {"db_path": database}},
            "authentication": {"module": "rh-identity"},
            "conversation_cache": {"type": "state"},
            "user_data_collection": {"feedback_enabled": True, "feedback_storage": str(folder)},
            # What is done now and then is not to happen between two counts.
            "a2a": {"grpc_port": port, "tenants": (RED, BLUE), "lease_seconds": 3600},
            "push": {"allow": ("127.0.0.1",), "attempts": 1},
            "experimental": {
                "training": {"folder": folder / "trained"},
                "jobs": {"waiting_per_owner": 1000},
            },
        }
        app = create_app(Settings.model_validate(settings))
        url = await opened.enter_async_context(run_server(app))
        http = await opened.enter_async_context(httpx.AsyncClient(base_url=url))
        channel = await opened.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        yield Server(app, script, Reached(http, channel), database)


class Person(NamedTuple):
    """Somebody in a tenant."""

    server: Server
    user: str
    tenant: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """Return what says who they are."""
        user = {"user_id": self.user, "username": self.user}
        identity = {"identity": {"type": "User", "user": user}}
        return {"x-rh-identity": base64.b64encode(json.dumps(identity).encode()).decode()}

    async def call(self, method: str, params: Json) -> Json:
        """Call a method of A2A 1.0; returns its result."""
        in_tenant = {"tenant": self.tenant} if self.tenant else {}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params | in_tenant}
        answer = await self.server.reached.http.post("/a2a", json=body, headers=self.headers)
        said = answer.json()
        assert "result" in said, said
        return said["result"]

    async def send(self, text: str) -> Json:
        """Send a message; returns its task."""
        message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}]}
        return (await self.call("SendMessage", {"message": message}))["task"]

    async def has(self, ids: dict[str, str]) -> Json:
        """Return all that there is of what ``settle`` made."""
        contexts = [ids["@context"], ids["@ended-context"]]
        return [
            await self.call("ListTaskPushNotificationConfigs", {"taskId": ids["@task"]}),
            *[
                await self.call("ListTasks", {"contextId": one, "includeArtifacts": True})
                for one in contexts
            ],
        ]

    async def settle(self) -> dict[str, str]:
        """Make one of everything; returns the ids."""
        waiting, ended = await self.send(f"{ASK} {PRIVATE}"), await self.send(PRIVATE)
        config_ids = sorted(secrets.token_hex(16) for _ in range(2))
        for config_id in config_ids:
            config = {"taskId": waiting["id"], "id": config_id, "url": HOOK, "token": PRIVATE}
            await self.call("CreateTaskPushNotificationConfig", config)
        page = await self.call("ListTasks", {"pageSize": 1})
        of_task = {"taskId": waiting["id"], "pageSize": 1}
        configs = await self.call("ListTaskPushNotificationConfigs", of_task)
        return {
            "@task": waiting["id"],
            "@context": waiting["contextId"],
            "@ended": ended["id"],
            "@ended-context": ended["contextId"],
            "@config": config_ids[0],
            "@token": page["nextPageToken"],
            "@config-token": configs["nextPageToken"],
            "@key": secrets.token_hex(16),
            "@message": str(uuid.uuid4()),
        }


def missing(name: str, real: str) -> str:
    """Return an id as ``real`` is one, that there is not."""
    if name in {"@task", "@ended", "@message"}:
        return str(uuid.uuid4())
    if name == "@token":
        # A token names a place, and by eight bytes the list that it belongs to.
        raw = bytearray(base64.urlsafe_b64decode(real + "=" * (-len(real) % 4)))
        raw[8:16] = secrets.token_bytes(8)
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")
    if name == "@config-token":
        return base64.urlsafe_b64encode(secrets.token_hex(16).encode()).decode()
    return secrets.token_hex(len(real) // 2)


def same(answer: Answer, asked_for: str) -> Answer:
    """Leave out what differs for whomever it is: the id that was asked for, and what is new."""

    def blank(text: str) -> str:
        return _NEW.sub("<new>", text.replace(asked_for, "<asked>"))

    headers = {name: blank(value) for name, value in answer.headers.items()}
    return answer._replace(headers=headers, body=blank(answer.body))


def told_of(ids: dict[str, str], said: str, but: Sequence[str]) -> list[str]:
    """Return which ids are in what was said, ``but`` those that it was asked for with."""
    return [name for name, value in ids.items() if name not in but and value in said]
