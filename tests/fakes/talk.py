"""People who talk to a server on every surface: A2A 1.0 over JSON-RPC, and REST."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
from sqlalchemy import make_url

from agent.app import create_app
from agent.settings import Settings
from tests.fakes.scripted_stack import STACK, Script, scripted
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.scripted_stack import Turn

type Json = Any


class Talk:
    """Somebody who talks to a server; ``user`` says who they are, to a server that believes it."""

    def __init__(self, http: httpx.AsyncClient, script: Script, user: str | None = None) -> None:
        self.http = http
        self.script = script
        self._who = {} if user is None else {"user_id": user}

    def by(self, user: str) -> Talk:
        """Return somebody else."""
        return Talk(self.http, self.script, user)

    async def call(self, method: str, **params: Json) -> Json:
        """Call a method of A2A; returns its result, or the code of the error."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = (await self.http.post("/a2a", params=self._who, json=body)).json()
        return answer["result"] if "result" in answer else answer["error"]["code"]

    async def say(self, text: str | list[Json], **message: Json) -> Json:
        """Send a message to A2A, a text or parts; returns the task."""
        parts = [{"text": text}] if isinstance(text, str) else text
        said = {"messageId": "m", "role": "ROLE_USER", "parts": parts, **message}
        return (await self.call("SendMessage", message=said))["task"]

    async def tasks(self, context_id: str) -> list[str]:
        """Return the ids of a context's tasks, the latest first."""
        listed = await self.call("ListTasks", contextId=context_id)
        return [task["id"] for task in listed["tasks"]]

    async def ask(self, query: str, **fields: Json) -> Json:
        """Ask REST; returns the answer."""
        body = {"query": query, "generate_topic_summary": False, **fields}
        answer = await self.rest("POST", "/v1/query", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def rest(self, method: str, path: str, **request: Json) -> httpx.Response:
        """Make a request of REST."""
        return await self.http.request(method, path, params=self._who, **request)

    async def conversations(self, version: str = "v1") -> Json:
        """Return the list of conversations."""
        answer = await self.rest("GET", f"/{version}/conversations")
        assert answer.status_code == 200, answer.text
        return answer.json()["conversations"]

    async def turns(self, conversation_id: str, version: str = "v1") -> Json:
        """Return the history of a conversation."""
        answer = await self.rest("GET", f"/{version}/conversations/{conversation_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()["chat_history"]

    async def said(self, conversation_id: str, version: str = "v1") -> list[list[str]]:
        """Return what was said in each turn of a conversation."""
        turns = await self.turns(conversation_id, version)
        return [[message["content"] for message in turn["messages"]] for turn in turns]


@asynccontextmanager
async def talking(*turns: Turn, **settings: Json) -> AsyncIterator[Talk]:
    """Serve a script, ``a2a_state`` in memory and read by ``/v2`` unless the settings say otherwise."""
    script = Script(*turns)
    with scripted(script) as name, anyio.fail_after(40):
        async with served(script, name, **settings) as talk:
            yield talk


@asynccontextmanager
async def served(script: Script, name: str, **settings: Json) -> AsyncIterator[Talk]:
    """Serve a script by the name that it has; several may at once, as processes do."""
    kept = {"a2a_state": {"memory": True}, "conversation_cache": {"type": "state"}}
    app = create_app(Settings.model_validate(kept | {"name": name, "stack": STACK} | settings))
    async with (
        run_server(app) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        yield Talk(http, script)


def database_section(url: str) -> Json:
    """Return the settings of a database, as ``a2a_state`` has them."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return {
            "postgres": {
                "host": parsed.host,
                "port": parsed.port,
                "db": parsed.database,
                "user": parsed.username,
                "password": "none needed",
                "ssl_mode": "disable",
            }
        }
    return {"sqlite": {"db_path": parsed.database}} if parsed.database else {"memory": True}
