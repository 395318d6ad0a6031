"""A server that is killed owes its webhooks nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from a2a_state.push_configs import PushConfigs
from tests.durability.process import Process, running, state_of
from tests.fakes.state import open_database
from tests.fakes.webhooks import serve

if TYPE_CHECKING:
    from pathlib import Path

    from a2a_state.database import Database

pytestmark = pytest.mark.anyio


async def failure(database: Database) -> None:
    """Wait until it is written down that the webhook failed."""
    with anyio.fail_after(30):
        while not any(row.attempts for row in await PushConfigs(database).of_state(None)):
            await anyio.lowlevel.checkpoint()


async def test_after_kill_9_a_webhook_hears_all_that_it_has_missed(
    database_url: str, tmp_path: Path
) -> None:
    """In order; what it was sent before may come again, under the same id."""
    if database_url == "sqlite://":
        pytest.skip("what is in memory ends with the process")
    server = Process(
        tmp_path,
        a2a_state=state_of(database_url),
        a2a={"lease_seconds": 1},
        push={"allow": ["127.0.0.1"], "timeout_seconds": 1, "backoff_seconds": 0.2},
    )
    async with serve(*3 * [503]) as webhook, running(server):
        async with httpx.AsyncClient(base_url=server.url) as http:
            message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "words:3:push"}]}
            configuration = {
                "returnImmediately": True,
                "taskPushNotificationConfig": {"url": webhook.url},
            }
            params = {"message": message, "configuration": configuration}
            request = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params}
            assert "result" in (await http.post("/a2a", json=request)).json()
        async with open_database(database_url) as database:
            await failure(database)
        server.kill()
        await server.start()
        with anyio.fail_after(60):
            while "completed" not in (heard := [each.brief for each in webhook.posted]):
                await webhook.hears(len(heard) + 1, seconds=60)

    told = [(each.headers["webhook-id"], each.brief) for each in webhook.posted]
    # The first ones were refused; from there on each event comes, and none before its predecessor.
    assert {brief for _, brief in told[:3]} <= {"submitted"}
    firsts = list(dict.fromkeys(told))
    assert firsts[0][1] == "submitted"
    assert firsts[-1][1] == "completed"
    positions = [firsts.index(each) for each in told]
    assert positions == sorted(positions)
