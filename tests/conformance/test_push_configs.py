"""Push notification configurations: created, got, listed and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent.stacks import InputRequired
from tests.conformance._requirements import requirement
from tests.conformance.client import in_process
from tests.conformance.wire_0_3 import V0_3
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conformance.client import Client
    from tests.conformance.wire import Json, Wire

pytestmark = pytest.mark.anyio

# Nobody listens there, and nothing is sent: the tasks wait.
HOOK = "http://127.0.0.1:8999/hook"
PUSH: dict[str, Any] = {"push": {"allow": ("127.0.0.1",)}}
QUESTION = Script([InputRequired("Which?")])
NOWHERE = {
    "a private address": "http://10.0.0.1/hook",
    "another private address": "https://192.168.1.1/hook",
    "a carrier's address": "http://100.64.0.1/",
    "loopback": "http://127.0.0.2:8080/hook",
    "loopback by name": "http://localhost/hook",
    "loopback in IPv6": "http://[::1]/hook",
    "loopback as IPv6": "http://[::ffff:127.0.0.2]/hook",
    "loopback as a number": "http://2130706434/hook",
    "link-local": "http://169.254.169.254/latest/meta-data",
    "link-local in IPv6": "http://[fe80::1]/hook",
    "any address": "http://0.0.0.0/hook",
    "a file": "file:///etc/passwd",
    "another protocol": "ftp://example.com/hook",
    "no host": "https:///hook",
    "no URL": "hook",
    "nothing": "",
}


@pytest.fixture
async def client(wire: Wire) -> AsyncIterator[Client]:
    async with in_process(QUESTION, wire, **PUSH) as client:
        yield client


@pytest.fixture
async def task_id(client: Client) -> str:
    """Return a task that waits, so that it has more to tell."""
    task: Json = await client.send_task("hi")
    found: str = task["id"]
    return found


async def configs(client: Client, task_id: str) -> list[Json]:
    return client.wire.read_push_configs((await client.list_push(task_id)).result)


@requirement("1.0/push-create", "1.0/push-get", "0.3/push-set", "0.3/push-get")
async def test_what_is_created_is_there_with_all_that_was_said(
    wire: Wire, client: Client, task_id: str
) -> None:
    config = wire.push_config(HOOK, config_id="mine", token="token-1", bearer="key-1")
    created = wire.read_push_config((await client.create_push(task_id, config)).result)
    assert created == {
        "taskId": task_id,
        "id": "mine",
        "url": HOOK,
        "token": "token-1",
        "authentication": {"scheme": "Bearer", "credentials": "key-1"},
    }
    assert wire.read_push_config((await client.get_push(task_id, "mine")).result) == created


@requirement("1.0/push-create", "1.0/push-get", "0.3/push-set", "0.3/push-get")
async def test_an_id_is_made_where_none_is_given(wire: Wire, client: Client, task_id: str) -> None:
    reply = await client.create_push(task_id, wire.push_config(HOOK))
    created = wire.read_push_config(reply.result)
    assert created.keys() == {"taskId", "id", "url"}
    assert wire.read_push_config((await client.get_push(task_id, created["id"])).result) == created


@requirement("1.0/push-list", "0.3/push-list")
async def test_a_task_may_have_several(wire: Wire, client: Client, task_id: str) -> None:
    assert await configs(client, task_id) == []
    for name in ("a", "b", "c"):
        await client.create_push(task_id, wire.push_config(f"{HOOK}/{name}", config_id=name))
    listed = await configs(client, task_id)
    assert {config["id"]: config["url"] for config in listed} == {
        name: f"{HOOK}/{name}" for name in ("a", "b", "c")
    }
    assert {config["taskId"] for config in listed} == {task_id}


@requirement("1.0/push-create", "0.3/push-update")
async def test_the_same_id_again_changes_it(wire: Wire, client: Client, task_id: str) -> None:
    await client.create_push(task_id, wire.push_config(HOOK, config_id="mine", token="one"))
    await client.create_push(task_id, wire.push_config(f"{HOOK}/2", config_id="mine"))
    (config,) = await configs(client, task_id)
    assert (config["url"], config.get("token")) == (f"{HOOK}/2", None)


@requirement("1.0/push-delete", "1.0/push-delete-again", "1.0/push-get-unknown", "0.3/push-delete")
async def test_what_is_deleted_is_gone_and_may_be_deleted_again(
    wire: Wire, client: Client, task_id: str
) -> None:
    for name in ("mine", "other"):
        await client.create_push(task_id, wire.push_config(HOOK, config_id=name))
    for _ in range(2):
        wire.read_deleted((await client.delete_push(task_id, "mine")).result)
        assert (await client.get_push(task_id, "mine")).code == -32001
        assert [config["id"] for config in await configs(client, task_id)] == ["other"]


@requirement(
    "1.0/push-create-unknown",
    "1.0/push-get-unknown",
    "1.0/push-list-unknown",
    "1.0/push-delete-unknown",
    "1.0/error-task-not-found",
    "0.3/push-set-unknown",
    "0.3/push-get-unknown",
    "0.3/a2a-errors",
)
async def test_what_is_not_there_is_not_found(wire: Wire, client: Client, task_id: str) -> None:
    await client.create_push(task_id, wire.push_config(HOOK, config_id="mine"))
    for reply in (
        await client.create_push("no-such-task", wire.push_config(HOOK)),
        await client.get_push("no-such-task", "mine"),
        await client.get_push(task_id, "no-such-configuration"),
        await client.list_push("no-such-task"),
        await client.delete_push("no-such-task", "mine"),
    ):
        assert reply.code == -32001
    assert [config["id"] for config in await configs(client, task_id)] == ["mine"]


@requirement("1.0/push-with-message", "0.3/push-with-message")
async def test_a_message_brings_one_along(wire: Wire, client: Client) -> None:
    push = wire.push_config(HOOK, token="token-1")
    task = await client.send_task("hi", configuration=wire.configuration(push=push))
    (config,) = await configs(client, task["id"])
    assert (config["url"], config["token"]) == (HOOK, "token-1")
    another = wire.push_config(HOOK, config_id="second")
    await client.send_task(
        "this", taskId=task["id"], configuration=wire.configuration(push=another)
    )
    assert len(await configs(client, task["id"])) == 2


@requirement("1.0/push-persists", "0.3/push-get")
async def test_a_configuration_outlives_the_server(wire: Wire, tmp_path: Path) -> None:
    state = {"sqlite": {"db_path": tmp_path / "state.db"}}
    async with in_process(QUESTION, wire, **PUSH, a2a_state=state) as client:
        task = await client.send_task("hi")
        await client.create_push(task["id"], wire.push_config(HOOK, config_id="mine"))
    async with in_process(QUESTION, wire, **PUSH, a2a_state=state) as client:
        assert (await client.get_push(task["id"], "mine")).result


@pytest.mark.parametrize("url", NOWHERE.values(), ids=NOWHERE.keys())
@requirement("1.0/push-ssrf", "0.3/push-ssrf", "1.0/validation", "0.3/validation")
async def test_a_url_that_leads_inside_is_refused(
    rpc: Wire, answering: dict[Wire, Client], url: str
) -> None:
    """When it is created, and when it comes with a message, of which nothing is run."""
    client = answering[rpc]
    task = await client.send_task("hi")
    prefix = "" if rpc.version == "1.0" else "pushNotificationConfig."
    reply = await client.create_push(task["id"], rpc.push_config(url))
    assert (reply.code, reply.field) == (-32602, f"{prefix}url")
    client.script.requests.clear()
    push = rpc.configuration(push=rpc.push_config(url))
    refused = await client.refused("hi", configuration=push)
    assert refused.code == -32602
    assert refused.field.endswith("url")
    assert client.script.requests == []


@requirement("1.0/validation", "0.3/validation")
async def test_what_cannot_stand_in_a_header_is_refused(
    wire: Wire, client: Client, task_id: str
) -> None:
    for config in (
        wire.push_config(HOOK, token="a\r\nX-Evil: 1"),
        wire.push_config(HOOK, bearer="a\nb"),
        wire.push_config(HOOK, config_id="x" * 257),
    ):
        assert (await client.create_push(task_id, config)).code == -32602
    assert await configs(client, task_id) == []


@requirement("1.0/push-unsupported", "1.0/error-push", "0.3/push-unsupported", "0.3/a2a-errors")
async def test_where_there_are_none_every_operation_says_so(wire: Wire) -> None:
    off = {"push": {"enabled": False}}
    async with in_process(Script(ANSWER), wire, **off) as client:
        task_id = (await client.send_task("hi"))["id"]
        for reply in (
            await client.create_push(task_id, wire.push_config("https://a.example/hook")),
            await client.get_push(task_id, "mine"),
            await client.list_push(task_id),
            await client.delete_push(task_id, "mine"),
        ):
            assert reply.code == -32003
        card = (await client.http.get("/.well-known/agent-card.json")).json()
        assert card["capabilities"]["pushNotifications"] is False


@requirement("0.3/push-get-any")
async def test_in_0_3_a_task_names_its_configuration() -> None:
    """Without an id, the one that was set without one is meant."""
    async with in_process(QUESTION, V0_3, **PUSH) as client:
        task = await client.send_task("hi")
        method = client.wire.methods["get_push"]
        assert (await client.call(method, {"id": task["id"]})).code == -32001
        await client.create_push(task["id"], client.wire.push_config(HOOK, config_id="b"))
        await client.create_push(task["id"], client.wire.push_config(f"{HOOK}/a"))
        found = (await client.call(method, {"id": task["id"]})).result
        assert found["pushNotificationConfig"]["url"] == f"{HOOK}/a"
        await client.create_push(task["id"], client.wire.push_config(f"{HOOK}/c"))
        assert len(await configs(client, task["id"])) == 2


@requirement("1.0/scope-every-operation", "1.0/not-yours", "1.0/tenant")
async def test_another_tenant_has_none_of_it(latest: Wire) -> None:
    settings = PUSH | {"a2a": {"tenants": ("red", "blue")}}
    async with in_process(QUESTION, latest, **settings) as client:
        red = {"tenant": "red"}
        sent = await client.call(latest.send, client.params("hi") | red)
        task_id = sent.sent["task"]["id"]
        one = latest.push_id_params(task_id, "mine")
        create = latest.push_params(task_id, latest.push_config(HOOK, config_id="mine"))
        asked = {
            "create_push": create,
            "get_push": one,
            "list_push": latest.push_task_params(task_id),
            "delete_push": one,
        }
        created = (await client.call(latest.methods["create_push"], create | red)).result
        assert created["tenant"] == "red"
        for tenant in ({}, {"tenant": "blue"}):
            for operation, params in asked.items():
                reply = await client.call(latest.methods[operation], params | tenant)
                assert reply.code == -32001, operation
        assert (await client.call(latest.methods["get_push"], one | red)).result == created
