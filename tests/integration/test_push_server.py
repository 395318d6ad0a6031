"""Webhooks of the whole server, over a task that asks back."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from agent.app import create_app
from agent.settings import Settings
from agent.stacks import InputRequired
from tests.fakes.scripted_stack import ANSWER, STACK, Script, scripted
from tests.fakes.server import run_server
from tests.fakes.webhooks import serve

pytestmark = pytest.mark.anyio


async def call(http: httpx.AsyncClient, method: str, **params: Any) -> Any:
    """Return the result of a method."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return (await http.post("/a2a", json=request)).json()["result"]


def settings(name: str, **push: Any) -> Settings:
    """Return settings of a server that runs a script and may call loopback."""
    given = {"allow": ["127.0.0.1"], **push}
    return Settings.model_validate(
        {"name": name, "stack": STACK, "a2a_state": {"memory": True}, "push": given}
    )


async def test_a_webhook_that_is_named_with_each_message_hears_each_event_once() -> None:
    """The task waits for an answer in between; naming the webhook again adds none."""
    script = Script([InputRequired("Which city?")], ANSWER)
    with scripted(script) as name:
        async with (
            serve() as webhook,
            run_server(create_app(settings(name))) as url,
            httpx.AsyncClient(base_url=url) as http,
        ):
            push = {"taskPushNotificationConfig": {"url": webhook.url, "token": "t"}}
            asked = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "Weather?"}]}
            task = (await call(http, "SendMessage", message=asked, configuration=push))["task"]
            said = {
                "messageId": "m-2",
                "role": "ROLE_USER",
                "parts": [{"text": "Bonn"}],
                "taskId": task["id"],
            }
            await call(http, "SendMessage", message=said, configuration=push)
            heard = await webhook.hears(6)
            listed = await call(http, "ListTaskPushNotificationConfigs", taskId=task["id"])

    assert heard[:2] == ["submitted", "working"]
    assert heard[2:] == ["input_required", "working", "yes", "completed"]
    assert len({each.headers["webhook-id"] for each in webhook.posted}) == len(webhook.posted)
    assert [each["url"] for each in listed["configs"]] == [webhook.url]


async def test_the_card_says_whether_there_are_webhooks() -> None:
    for enabled in (True, False):
        with scripted(Script(ANSWER)) as name:
            app = create_app(settings(name, enabled=enabled))
            async with (
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app), base_url="http://test"
                ) as http,
            ):
                card = (await http.get("/.well-known/agent-card.json")).json()

        assert card["capabilities"]["pushNotifications"] is enabled
