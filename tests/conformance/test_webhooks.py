"""Webhooks: what is sent to them, when, and how it is known to be ours."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from agent.stacks import InputRequired, TextDelta
from tests.conformance._requirements import requirement
from tests.conformance.client import in_process
from tests.conformance.wire_0_3 import V0_3
from tests.conformance.wire_1_0 import V1_0
from tests.fakes.scripted_stack import ANSWER, DONE, Script
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.streams.memory import MemoryObjectReceiveStream
    from starlette.requests import Request

    from tests.conformance.wire import Json, Wire

pytestmark = pytest.mark.anyio

# Quick to try again, so that nobody waits for it.
PUSH: dict[str, Any] = {
    "push": {"allow": ("127.0.0.1",), "backoff_seconds": 0.01, "backoff_max_seconds": 0.02}
}


class Notification(NamedTuple):
    """One request that a webhook got."""

    path: str
    headers: dict[str, str]
    body: Json


class Webhook(NamedTuple):
    """A webhook, and what comes in there."""

    url: str
    received: MemoryObjectReceiveStream[Notification]
    answers: list[int]
    """HTTP statuses to answer with, before all is well."""

    async def next(self) -> Notification:
        """Wait for the next notification."""
        return await self.received.receive()

    async def until(self, state: str) -> list[Notification]:
        """Return the notifications up to the one of a state, by its name in 1.0."""
        news = [await self.next()]
        while state_of(news[-1].body) != state:
            news.append(await self.next())
        return news


def state_of(body: Json) -> str | None:
    """Return the state that a body of either version tells, by its name in 1.0."""
    if "kind" in body:
        old: str = body["status"]["state"]
        return "TASK_STATE_" + old.upper().replace("-", "_")
    event = body.get("statusUpdate") or body.get("task")
    state: str | None = event and event["status"]["state"]
    return state


@asynccontextmanager
async def webhook() -> AsyncIterator[Webhook]:
    put, received = anyio.create_memory_object_stream[Notification](1000)
    answers: list[int] = []

    async def notify(request: Request) -> Response:
        body = json.loads(await request.body())
        put.send_nowait(Notification(request.url.path, dict(request.headers), body))
        return Response(status_code=answers.pop(0) if answers else 204)

    app = Starlette(routes=[Route("/{path:path}", notify, methods=["POST"])])
    with put, received:
        async with run_server(app) as url:
            yield Webhook(f"{url}/hook", received, answers)


@requirement("1.0/push-payload", "1.0/push-media-type", "1.0/push-delivered", "1.0/push-at-once")
@pytest.mark.parametrize("at_once", [None, True])
async def test_in_1_0_each_event_is_sent_as_in_a_stream(at_once: bool | None) -> None:
    turn = Script([TextDelta("yes"), DONE])
    async with webhook() as hook, in_process(turn, V1_0, **PUSH) as client:
        push = V1_0.push_config(hook.url)
        how = V1_0.configuration(push=push, at_once=at_once)
        task = await client.send_task("hi", configuration=how)
        news = await hook.until("TASK_STATE_COMPLETED")
        for notification in news:
            assert notification.headers["content-type"] == "application/a2a+json"
            (event,) = V1_0.read_event(notification.body).values()
            assert task["id"] in {event.get("taskId"), event.get("id")}
        artifacts = [n.body["artifactUpdate"] for n in news if "artifactUpdate" in n.body]
        told = "".join(part["text"] for a in artifacts for part in a["artifact"]["parts"])
        whole = [n.body["task"] for n in news if "task" in n.body]
        assert told or whole[-1].get("artifacts")
        assert {notification.path for notification in news} == {"/hook"}


@requirement("0.3/push-payload", "0.3/push-media-type")
async def test_in_0_3_the_task_is_sent() -> None:
    async with webhook() as hook, in_process(Script(ANSWER), V0_3, **PUSH) as client:
        how = V0_3.configuration(push=V0_3.push_config(hook.url))
        task = await client.send_task("hi", configuration=how)
        news = await hook.until("TASK_STATE_COMPLETED")
        for notification in news:
            assert notification.headers["content-type"] == "application/json"
            assert V0_3.read_task(notification.body)["id"] == task["id"]
        assert V0_3.read_task(news[-1].body)["status"] == task["status"]


@requirement("1.0/push-credentials", "0.3/push-credentials", "0.3/push-token")
async def test_a_webhook_gets_its_token_and_credentials(rpc: Wire) -> None:
    async with webhook() as hook, in_process(Script(ANSWER), rpc, **PUSH) as client:
        push = rpc.push_config(hook.url, token="token-1", bearer="key-1")
        await client.send_task("hi", configuration=rpc.configuration(push=push))
        for notification in await hook.until("TASK_STATE_COMPLETED"):
            assert notification.headers["authorization"] == "Bearer key-1"
            assert notification.headers["x-a2a-notification-token"] == "token-1"


@requirement("1.0/push-credentials")
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Basic", "ApiKey"])
async def test_schemes_are_those_of_http(scheme: str) -> None:
    """Their names know no case."""
    async with webhook() as hook, in_process(Script(ANSWER), V1_0, **PUSH) as client:
        authentication = {"scheme": scheme, "credentials": "dXNlcjpwYXNz"}
        push = V1_0.push_config(hook.url) | {"authentication": authentication}
        await client.send_task("hi", configuration=V1_0.configuration(push=push))
        said = (await hook.next()).headers["authorization"]
        assert said.lower() == f"{scheme} dXNlcjpwYXNz".lower()


@requirement("1.0/push-every-webhook", "1.0/push-delivered")
async def test_every_webhook_gets_every_event_in_order() -> None:
    script = Script([InputRequired("Which?")], ANSWER)
    async with webhook() as hook, in_process(script, V1_0, **PUSH) as client:
        task = await client.send_task("hi")
        for name in ("a", "b"):
            config = V1_0.push_config(f"{hook.url}/{name}", config_id=name)
            await client.create_push(task["id"], config)
        await client.send_task("this", taskId=task["id"])
        heard: dict[str, list[Json]] = {"/hook/a": [], "/hook/b": []}
        while not all(
            bodies and state_of(bodies[-1]) == "TASK_STATE_COMPLETED" for bodies in heard.values()
        ):
            notification = await hook.next()
            heard[notification.path].append(notification.body)
        assert heard["/hook/a"] == heard["/hook/b"]


@requirement("1.0/push-deleted")
async def test_a_webhook_that_was_deleted_hears_no_more() -> None:
    """The other one shows that there was something to hear."""
    script = Script([InputRequired("Which?")], ANSWER)
    async with webhook() as hook, in_process(script, V1_0, **PUSH) as client:
        task = await client.send_task("hi")
        for name in ("gone", "kept"):
            config = V1_0.push_config(f"{hook.url}/{name}", config_id=name)
            await client.create_push(task["id"], config)
        await client.delete_push(task["id"], "gone")
        await client.send_task("this", taskId=task["id"])
        news = await hook.until("TASK_STATE_COMPLETED")
        assert {notification.path for notification in news} == {"/hook/kept"}


@requirement("1.0/push-retry", "1.0/push-delivered")
async def test_what_a_webhook_does_not_take_is_sent_again() -> None:
    """Until it does, and in order."""
    async with webhook() as hook, in_process(Script(ANSWER), V1_0, **PUSH) as client:
        hook.answers.extend([500, 503, 404])
        how = V1_0.configuration(push=V1_0.push_config(hook.url))
        await client.send_task("hi", configuration=how)
        first = await hook.next()
        again = [await hook.next() for _ in range(3)]
        assert [notification.body for notification in again] == [first.body] * 3
        assert await hook.until("TASK_STATE_COMPLETED")


@requirement("1.0/push-ssrf", "1.0/push-allowed", "0.3/push-ssrf")
async def test_a_webhook_within_is_called_only_where_the_settings_name_it(rpc: Wire) -> None:
    async with webhook() as hook, in_process(Script(ANSWER), rpc) as client:
        push = rpc.configuration(push=rpc.push_config(hook.url))
        assert (await client.refused("hi", configuration=push)).code == -32602
    async with webhook() as hook, in_process(Script(ANSWER), rpc, **PUSH) as client:
        push = rpc.configuration(push=rpc.push_config(hook.url))
        await client.send_task("hi", configuration=push)
        assert await hook.next()
