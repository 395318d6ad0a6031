"""What a real server stored of a conversation is deleted without a rest."""

from __future__ import annotations

import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest
from sqlalchemy import select

from a2a_state.deletion import Deletion
from a2a_state.tables import contexts
from agent.app import create_app
from agent.clock import now
from agent.retention import Purged, Retention
from agent.settings import Settings
from tests.fakes.kept import DAY, left
from tests.fakes.state import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio

TWO_TURNS = {
    "tasks": 2,
    "task_events": 2,
    "contexts": 1,
    "message_keys": 2,
    "sessions": 1,
    "turns": 2,
}


class Conversation:
    """A conversation with the embedded stack of a server, and the database of that server."""

    def __init__(self, http: httpx.AsyncClient, database: Database, context_id: str) -> None:
        """Nothing is said yet."""
        self._http = http
        self.database = database
        self.context_id = context_id

    async def say(self, text: str) -> None:
        """Send a message that becomes a task and ends it."""
        message = {
            "messageId": str(uuid.uuid4()),
            "contextId": self.context_id,
            "role": "ROLE_USER",
            "parts": [{"text": text}],
        }
        call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
        answer = await self._http.post("/a2a", json=call, headers={"A2A-Version": "1.0"})
        assert answer.json()["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"

    async def left(self) -> dict[str, int]:
        """Return how many rows there are; how many of the log an answer takes is the server's affair."""
        rows = await left(self.database)
        if "task_events" in rows:
            rows["task_events"] = min(rows["task_events"], 2)
        return rows


@asynccontextmanager
async def conversation(folder: Path) -> AsyncIterator[Conversation]:
    """Serve the embedded stack on a SQLite file."""
    path = folder / "state.db"
    (folder / "knowledge").mkdir()
    settings = Settings.model_validate(
        {"a2a_state": {"sqlite": {"db_path": path}}, "knowledge": folder / "knowledge"}
    )
    async with AsyncExitStack() as opened:
        app = create_app(settings)
        opened.enter_context(anyio.fail_after(20))
        await opened.enter_async_context(app.router.lifespan_context(app))
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://agent.test")
        await opened.enter_async_context(http)
        database = await opened.enter_async_context(open_database(f"sqlite:///{path}"))
        yield Conversation(http, database, uuid.uuid4().hex)


async def test_a_conversation_that_its_owner_deletes_is_gone_and_may_begin_anew(
    tmp_path: Path,
) -> None:
    async with conversation(tmp_path) as talk:
        await talk.say("one")
        await talk.say("two")
        assert await talk.left() == TWO_TURNS
        owner = await talk.database.read(lambda c: c.execute(select(contexts.c.owner)).scalar())
        assert owner is not None

        await Deletion(talk.database).context(owner, "", talk.context_id)

        assert await talk.left() == {}
        await talk.say("three")
        assert (await talk.left())["turns"] == 1


async def test_a_conversation_that_nobody_goes_on_with_is_gone_in_the_end(tmp_path: Path) -> None:
    async with conversation(tmp_path) as talk:
        await talk.say("one")
        await talk.say("two")
        retention = Retention(talk.database, Settings().retention)

        assert await retention.sweep(now()) == Purged()
        assert await retention.sweep(now() + 2 * DAY) == Purged(message_keys=2)
        assert await retention.sweep(now() + 31 * DAY) == Purged(tasks=2)
        assert await talk.left() == {"contexts": 1, "sessions": 1, "turns": 2}
        assert await retention.sweep(now() + 91 * DAY) == Purged(contexts=1)

        assert await talk.left() == {}
