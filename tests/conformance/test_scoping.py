"""Whose a task is: every operation asks, and says the same of what is another's as of what is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.stacks import InputRequired
from tests.conformance._requirements import requirement
from tests.conformance.client import in_process
from tests.conformance.wire_1_0 import V1_0
from tests.fakes.scripted_stack import Script

if TYPE_CHECKING:
    from tests.conformance.client import Client, Reply
    from tests.conformance.wire import Wire

pytestmark = pytest.mark.anyio

PUSH = {"push": {"allow": ("127.0.0.1",)}}


async def reached(client: Client, task_id: str) -> dict[str, Reply]:
    """Ask for a task in every way there is."""
    wire = client.wire
    hook = wire.push_config("http://127.0.0.1:8999/hook", config_id="mine")
    return {
        "send": await client.call(wire.send, client.params("hi", taskId=task_id)),
        "stream": await client.call(wire.stream, client.params("hi", taskId=task_id)),
        "get": await client.get(task_id),
        "cancel": await client.cancel(task_id),
        "subscribe": await client.subscribed(task_id),
        "create_push": await client.create_push(task_id, hook),
        "get_push": await client.get_push(task_id, "mine"),
        "list_push": await client.list_push(task_id),
        "delete_push": await client.delete_push(task_id, "mine"),
    }


@requirement(
    "1.0/scope-every-operation",
    "1.0/not-yours",
    "1.0/indistinguishable",
    "0.3/not-yours",
    "0.3/push-set-unknown",
)
async def test_anothers_task_is_no_task_whatever_is_asked(wire: Wire) -> None:
    """Here it is another tenant's; who names no tenant has one of their own."""
    settings = PUSH | {"a2a": {"tenants": ("red",)}}
    async with in_process(Script([InputRequired("Which?")]), wire, **settings) as client:
        hers = client.speaking(V1_0)
        params = hers.params("hi") | {"tenant": "red"}
        task = (await hers.call(V1_0.send, params)).sent["task"]
        get = {"id": task["id"], "tenant": "red"}
        before = (await hers.call(V1_0.get, get)).task
        theirs = await reached(client, task["id"])
        nowhere = await reached(client, "nowhere")
        for name, reply in theirs.items():
            assert reply.code == -32001, name
            assert reply.error == nowhere[name].error, name
        assert (await hers.call(V1_0.get, get)).task == before
        assert len(client.script.requests) == 1
