"""Contexts and conversations, task ids, owners and tenants."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import anyio
import pytest

from agent.auth.noop import ANONYMOUS
from agent.stacks import DirectMessage, InputRequired, TextPart
from tests.conformance._requirements import requirement
from tests.conformance.client import in_process, on_socket
from tests.conformance.wire_0_3 import V0_3
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.client import Client, Reply
    from tests.conformance.wire import Wire

pytestmark = pytest.mark.anyio

QUESTION = [InputRequired("Which?")]


@requirement("1.0/context-generated", "1.0/task-id")
async def test_ids_are_made_for_who_brings_none(wire: Wire) -> None:
    """A context id of ours is a conversation id on every surface: 48 hex characters."""
    async with in_process(Script(ANSWER), wire) as client:
        tasks = [await client.send_task("hi") for _ in range(5)]
        assert len({task["id"] for task in tasks}) == 5
        assert len({task["contextId"] for task in tasks}) == 5
        assert all(re.fullmatch("[0-9a-f]{48}", task["contextId"]) for task in tasks)
        assert len({request.conversation_id for request in client.script.requests}) == 5


@requirement("1.0/context-generated")
async def test_a_message_without_a_task_has_its_context(wire: Wire) -> None:
    async with in_process(Script([DirectMessage((TextPart("hello"),))], ANSWER), wire) as client:
        message = (await client.send("hi"))["message"]
        assert "taskId" not in message
        task = await client.send_task("and now?", contextId=message["contextId"])
        assert task["contextId"] == message["contextId"]
        first, second = client.script.requests
        assert first.conversation_id == second.conversation_id


@pytest.mark.parametrize(
    "context_id", ["c", "a b / 1 % ../..", "Zürich 東京 🚀", "x" * 256, "' OR 1=1 --"]
)
@requirement("1.0/context-kept", "1.0/context-session", "0.3/context")
async def test_a_context_id_of_the_clients_is_kept(json_wire: Wire, context_id: str) -> None:
    async with in_process(Script(ANSWER), json_wire) as client:
        tasks = [await client.send_task("hi", contextId=context_id) for _ in range(2)]
        assert [task["contextId"] for task in tasks] == [context_id] * 2
        assert tasks[0]["id"] != tasks[1]["id"]
        assert len(client.script.owners) == 1


@requirement("1.0/context-session")
async def test_messages_of_a_context_are_one_conversation_after_a_restart_too(
    wire: Wire, tmp_path: Path
) -> None:
    script = Script(ANSWER)
    state = {"sqlite": {"db_path": tmp_path / "state.db"}}
    async with in_process(script, wire, a2a_state=state) as client:
        given = await client.send_task("hi", contextId="context-1")
        made = await client.send_task("hi")
    async with in_process(script, wire, a2a_state=state) as client:
        for task in (given, made):
            await client.send_task("hi again", contextId=task["contextId"])
    conversations = [request.conversation_id for request in script.requests]
    assert conversations == ["conversation-1", "conversation-2"] * 2


@requirement("1.0/context-session")
async def test_first_messages_at_once_start_one_conversation(wire: Wire) -> None:
    gate = anyio.Event()
    script = Script(ANSWER, starting=gate)
    async with on_socket(script, wire) as client:
        async with anyio.create_task_group() as sending:
            for _ in range(4):
                sending.start_soon(lambda: client.send_task("hi", contextId="context-1"))
            while not script.owners:
                await client.get("any")
            gate.set()
        assert len(script.owners) == 1
        assert {request.conversation_id for request in script.requests} == {"conversation-1"}


@requirement(
    "1.0/send-unknown-task",
    "1.0/stream-errors",
    "0.3/a2a-errors",
    "1.0/error-task-not-found",
    "0.3/unknown-task",
)
async def test_a_message_to_a_task_that_is_not_there_is_refused(wire: Wire) -> None:
    """A client cannot choose the id of a new task."""
    async with in_process(Script(ANSWER), wire) as client:
        for fields in ({}, {"contextId": "context-1"}):
            reply = await client.refused("hi", taskId="mine", **fields)
            assert reply.code == -32001
        assert client.script.requests == []


@requirement("1.0/get-unknown", "0.3/a2a-errors", "0.3/get-unknown")
@pytest.mark.parametrize("task_id", ["x", "00000000-0000-4000-8000-000000000000", "%", "' OR ''='"])
async def test_a_task_that_is_not_there_is_not_found(
    wire: Wire, answering: dict[Wire, Client], task_id: str
) -> None:
    client = answering[wire]
    await client.send_task("hi")
    assert (await client.get(task_id)).code == -32001


@requirement("1.0/send-ended-task", "1.0/stream-errors", "0.3/ended-task", "0.3/a2a-errors")
async def test_an_ended_task_takes_no_message(wire: Wire, answering: dict[Wire, Client]) -> None:
    client = answering[wire]
    task = await client.send_task("hi")
    assert (await client.refused("and?", taskId=task["id"])).code == -32004
    assert (await client.get(task["id"])).task == task


@requirement("1.0/reference-tasks", "1.0/history")
async def test_references_and_extensions_are_kept_in_the_history(
    wire: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[wire]
    earlier = await client.send_task("hi")
    fields = {
        "referenceTaskIds": [earlier["id"]],
        "extensions": ["https://a.example/x"],
        "metadata": {"https://a.example/x": {"n": None}},
    }
    (message,) = (await client.send_task("hi", **fields))["history"]
    assert {name: message[name] for name in fields} == fields


@requirement("1.0/metadata")
async def test_the_stack_sees_the_metadata_of_request_and_message(
    wire: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[wire]
    params = client.params("hi", metadata={"a": 1, "b": {"c": []}})
    await client.call(wire.send, params | {"metadata": {"a": 0, "z": None}})
    (request,) = client.script.requests
    assert request.metadata == {"a": 1, "b": {"c": []}, "z": None}
    assert request.owner == ANONYMOUS


@requirement("1.0/tenant", "1.0/not-yours", "1.0/indistinguishable")
async def test_a_task_belongs_to_its_tenant(latest: Wire) -> None:
    """Another tenant is told the same as about a task that is not there."""
    script = Script(QUESTION, ANSWER)
    async with in_process(script, latest, a2a={"tenants": ("red", "blue")}) as client:
        task = (await _as("red", client, latest.send, client.params("hi"))).sent["task"]
        assert script.requests[0].tenant == "red"
        get = {"id": task["id"]}
        assert (await _as("red", client, latest.get, get)).task == task
        continued = client.params("hi", taskId=task["id"])
        for tenant in ("blue", ""):
            for method, params in ((latest.get, get), (latest.send, continued)):
                refused = await _as(tenant, client, method, params)
                nowhere = await _as(tenant, client, method, _elsewhere(params))
                assert refused.error == nowhere.error
                assert refused.code == -32001
        assert (await client.speaking(V0_3).get(task["id"])).code == -32001
        assert len(script.requests) == 1
        assert (await _as("red", client, latest.send, continued)).sent["task"]["id"] == task["id"]


@requirement("1.0/tenant", "1.0/not-yours")
async def test_a_context_id_means_another_context_to_each_tenant(latest: Wire) -> None:
    script = Script(QUESTION, QUESTION, ANSWER)
    async with in_process(script, latest, a2a={"tenants": ("red", "blue")}) as client:
        params = client.params("hi", contextId="context-1")
        red = (await _as("red", client, latest.send, params)).sent["task"]
        blue = (await _as("blue", client, latest.send, params)).sent["task"]
        assert red["id"] != blue["id"]
        assert [request.conversation_id for request in script.requests] == [
            "conversation-1",
            "conversation-2",
        ]
        again = (await _as("blue", client, latest.send, params)).sent["task"]
        assert again["id"] == blue["id"]


async def _as(tenant: str, client: Client, method: str, params: dict[str, object]) -> Reply:
    return await client.call(method, params | {"tenant": tenant})


def _elsewhere(params: dict[str, object]) -> dict[str, object]:
    message = params.get("message")
    if isinstance(message, dict):
        return params | {"message": message | {"taskId": "nowhere"}}
    return params | {"id": "nowhere"}
