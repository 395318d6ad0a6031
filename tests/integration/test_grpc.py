"""The client of a2a-sdk over gRPC, in both of its dialects, against the whole server."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import anyio
import httpx
import pytest

pytest.importorskip("grpc")

import grpc
from a2a.client import ClientConfig, create_client
from a2a.client.client import ClientCallContext
from a2a.helpers import get_artifact_text, get_message_text, new_text_message
from a2a.types import a2a_pb2 as v1
from a2a.types import a2a_pb2_grpc
from a2a.utils.errors import (
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)

from agent.app import create_app
from agent.settings import Settings
from agent.stacks import DirectMessage, InputRequired, TextDelta, TextPart
from tests.fakes.api_key import KEYED, SHOWN
from tests.fakes.scripted_stack import DONE, STACK, Script, scripted
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from a2a.client import Client

pytestmark = pytest.mark.anyio

stub_of: Any = a2a_pb2_grpc.A2AServiceStub
ANSWER = [TextDelta("one "), TextDelta("two"), DONE]


class Served(NamedTuple):
    """A server on HTTP and gRPC, and a client of it that speaks gRPC."""

    client: Client
    url: str
    target: str


@pytest.fixture(params=["1.0", "0.3"])
def card(request: pytest.FixtureRequest) -> str:
    """Return the version that the client speaks, since it sees that version's card."""
    card: str = request.param
    return card


@asynccontextmanager
async def served(script: Script, card: str = "1.0", **settings: Any) -> AsyncIterator[Served]:
    """Serve ``script``; the client finds gRPC by the card."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    given = {"stack": STACK, "a2a_state": {"memory": True}, "service": {"host": "127.0.0.1"}}
    a2a = {"grpc_port": port} | settings.pop("a2a", {})
    with scripted(script) as name, anyio.fail_after(20):
        app = create_app(Settings(**(given | {"name": name, "a2a": a2a} | settings)))
        async with run_server(app) as url:
            config = ClientConfig(
                supported_protocol_bindings=["GRPC"], grpc_channel_factory=grpc.aio.insecure_channel
            )
            path = f"/.well-known/agent-card.json?version={card}"
            async with await create_client(url, config, relative_card_path=path) as client:
                yield Served(client, url, f"127.0.0.1:{port}")


def request(text: str, **fields: str) -> v1.SendMessageRequest:
    """Return a request that waits for the answer."""
    message = new_text_message(text, role=v1.Role.ROLE_USER)
    for name, value in fields.items():
        setattr(message, name, value)
    return v1.SendMessageRequest(message=message)


def named(name: str, value: str) -> ClientCallContext:
    """Return what sends a service parameter."""
    return ClientCallContext(service_parameters={name: value})


async def events_of(client: Client, text: str, **fields: str) -> list[v1.StreamResponse]:
    """Stream a message to the end."""
    return [event async for event in client.send_message(request(text, **fields))]


def text_of(events: list[v1.StreamResponse]) -> str:
    """Return the answer that a stream told."""
    return "".join(
        get_artifact_text(event.artifact_update.artifact)
        for event in events
        if event.HasField("artifact_update")
    )


async def test_the_client_streams(card: str) -> None:
    async with served(Script(ANSWER), card) as (client, *_):
        events = await events_of(client, "hi")
        kinds = [event.WhichOneof("payload") for event in events]
        assert (kinds[0], set(kinds[1:-1])) == ("task", {"status_update", "artifact_update"})
        assert text_of(events) == "one two"
        assert events[-1].status_update.status.state == v1.TASK_STATE_COMPLETED
        task = await client.get_task(v1.GetTaskRequest(id=events[0].task.id))
        assert [get_artifact_text(artifact) for artifact in task.artifacts] == ["one two"]
        assert [get_message_text(message) for message in task.history] == ["hi"]
        assert task.status.HasField("timestamp")


async def test_the_client_speaks_the_version_of_its_card(card: str) -> None:
    async with served(Script(ANSWER), card) as (client, *_):
        transport: Any = client
        module = type(transport._transport).__module__
        assert ("compat" in module) == (card == "0.3")


async def test_the_client_gets_a_message(card: str) -> None:
    script = Script([DirectMessage((TextPart("hello"),))])
    async with served(script, card) as (client, *_):
        (event,) = await events_of(client, "hi")
        assert get_message_text(event.message) == "hello"


async def test_what_waits_takes_the_answer(card: str) -> None:
    script = Script([InputRequired("Which city?", {"form": {"a": 1.0}})], ANSWER)
    async with served(script, card) as (client, *_):
        asked = await events_of(client, "Weather?")
        assert asked[-1].status_update.status.state == v1.TASK_STATE_INPUT_REQUIRED
        await events_of(client, "Zürich", task_id=asked[0].task.id)
        task = await client.get_task(v1.GetTaskRequest(id=asked[0].task.id, history_length=2))
        assert task.status.state == v1.TASK_STATE_COMPLETED
        assert [get_message_text(message) for message in task.history] == ["Which city?", "Zürich"]


async def test_the_client_knows_our_errors(card: str) -> None:
    async with served(Script(ANSWER), card) as (client, *_):
        with pytest.raises(TaskNotFoundError):
            await client.get_task(v1.GetTaskRequest(id="nowhere"))
        done = await events_of(client, "hi")
        task_id = done[0].task.id
        with pytest.raises(TaskNotCancelableError):
            await client.cancel_task(v1.CancelTaskRequest(id=task_id))
        refused = {
            TaskNotFoundError: {"task_id": "nowhere"},
            UnsupportedOperationError: {"task_id": task_id},
            InvalidParamsError: {"context_id": "x" * 1_000},
        }
        for error, fields in refused.items():
            with pytest.raises(error):
                await events_of(client, "hi", **fields)
        with pytest.raises(UnsupportedOperationError):
            _ = [event async for event in client.subscribe(v1.SubscribeToTaskRequest(id=task_id))]


async def test_the_client_cancels(card: str) -> None:
    script = Script([TextDelta("one "), anyio.Event()])
    async with served(script, card) as (client, *_):
        events = client.send_message(request("hi"))
        task_id = (await anext(events)).task.id
        task = await client.cancel_task(v1.CancelTaskRequest(id=task_id))
        assert task.status.state == v1.TASK_STATE_CANCELED
        last = [event async for event in events][-1]
        assert last.status_update.status.state == v1.TASK_STATE_CANCELED


async def test_several_subscribers_hear_the_same_and_one_that_leaves_disturbs_nobody(
    card: str,
) -> None:
    gate = anyio.Event()
    script = Script([TextDelta("one "), gate, TextDelta("two"), DONE])
    async with served(script, card) as (client, *_):
        first = client.send_message(request("hi"))
        task_id = (await anext(first)).task.id
        asked = v1.SubscribeToTaskRequest(id=task_id)
        second, third = client.subscribe(asked), cast("Any", client.subscribe(asked))
        for stream in (second, third):
            assert (await anext(stream)).task.id == task_id
        await third.aclose()
        gate.set()
        heard = [[event async for event in stream] for stream in (first, second)]
        length = min(map(len, heard))
        assert length > 0
        assert heard[0][-length:] == heard[1][-length:]
        assert heard[1][-1].status_update.status.state == v1.TASK_STATE_COMPLETED


async def test_a_task_does_not_depend_on_its_caller(card: str) -> None:
    """A client that cancels its stream, and one whose deadline passes, have gone away; that is all."""
    gate = anyio.Event()
    script = Script([TextDelta("one "), gate, TextDelta("two"), DONE])
    async with served(script, card) as (client, _, target):
        async with grpc.aio.insecure_channel(target) as channel:
            stub = stub_of(channel)
            call = stub.SendStreamingMessage(request("hi"))
            task_id = (await call.read()).task.id
            call.cancel()
            assert await call.code() is grpc.StatusCode.CANCELLED
        task = await client.get_task(v1.GetTaskRequest(id=task_id))
        assert task.status.state == v1.TASK_STATE_WORKING
        gate.set()
        while task.status.state != v1.TASK_STATE_COMPLETED:
            task = await client.get_task(v1.GetTaskRequest(id=task_id))
        assert [get_artifact_text(artifact) for artifact in task.artifacts] == ["one two"]


async def test_a_stream_is_taken_up_where_it_was_left() -> None:
    """The trailing metadata of a stream has the number of its last event."""
    async with served(Script([InputRequired("Which city?", {})])) as (client, _, target):
        async with grpc.aio.insecure_channel(target) as channel:
            stub = stub_of(channel)
            call = stub.SendStreamingMessage(request("hi"))
            heard = [event async for event in call]
            last = int(dict(await call.trailing_metadata())["last-event-id"])
        asked = v1.SubscribeToTaskRequest(id=heard[0].task.id)
        missed = client.subscribe(asked, context=named("last-event-id", str(last - 1)))
        assert await anext(missed) == heard[-1]


async def test_tasks_are_listed() -> None:
    """A2A 0.3 has no such method over gRPC."""
    async with served(Script(ANSWER)) as (client, *_):
        first, second = [(await events_of(client, text))[0].task.id for text in ("one", "two")]
        page = await client.list_tasks(v1.ListTasksRequest(page_size=1, include_artifacts=True))
        assert [task.id for task in page.tasks] == [second]
        assert (page.total_size, page.page_size) == (2, 1)
        assert get_artifact_text(page.tasks[0].artifacts[0]) == "one two"
        rest = v1.ListTasksRequest(page_size=1, page_token=page.next_page_token)
        page = await client.list_tasks(rest)
        assert [task.id for task in page.tasks] == [first]
        assert page.next_page_token == ""
        done = v1.ListTasksRequest(status=v1.TASK_STATE_CANCELED)
        assert (await client.list_tasks(done)).total_size == 0


async def test_push_configs_are_kept(card: str) -> None:
    script = Script([InputRequired("Which city?", {})])
    async with served(script, card, push={"allow": ["127.0.0.0/8"]}) as (client, *_):
        task_id = (await events_of(client, "hi"))[0].task.id
        config = v1.TaskPushNotificationConfig(
            task_id=task_id,
            id="hook",
            url="http://127.0.0.1:8080/hook",
            authentication=v1.AuthenticationInfo(scheme="Bearer", credentials="secret"),
        )
        made = await client.create_task_push_notification_config(config)
        assert (made.task_id, made.id, made.url) == (task_id, "hook", config.url)
        one = v1.GetTaskPushNotificationConfigRequest(task_id=task_id, id="hook")
        assert await client.get_task_push_notification_config(one) == made
        every = v1.ListTaskPushNotificationConfigsRequest(task_id=task_id)
        listed = await client.list_task_push_notification_configs(every)
        assert list(listed.configs) == [made]
        gone = v1.DeleteTaskPushNotificationConfigRequest(task_id=task_id, id="hook")
        await client.delete_task_push_notification_config(gone)
        assert not (await client.list_task_push_notification_configs(every)).configs
        with pytest.raises(TaskNotFoundError):
            await client.get_task_push_notification_config(one)


async def test_the_extended_card_is_served(card: str, tmp_path: Path) -> None:
    path = tmp_path / "extended.yaml"
    path.write_text("description: Says more.\n")
    settings = {"a2a": {"extended_card_path": str(path)}, "authentication": KEYED}
    async with served(Script(ANSWER), card, **settings) as found:
        extended = await found.client.get_extended_agent_card(
            v1.GetExtendedAgentCardRequest(), context=ClientCallContext(service_parameters=SHOWN)
        )
    assert extended.description == "Says more."
    scheme = extended.security_schemes["bearer"].http_auth_security_scheme
    assert scheme.scheme == "bearer"
    (asked,) = extended.security_requirements
    assert list(asked.schemes) == ["bearer"]
    interfaces = {(one.protocol_binding, one.url) for one in extended.supported_interfaces}
    assert ("GRPC", found.target) in interfaces


async def test_without_an_extended_card_there_is_an_error() -> None:
    async with (
        served(Script(ANSWER)) as (_, _, target),
        grpc.aio.insecure_channel(target) as channel,
    ):
        for method in (
            "lf.a2a.v1.A2AService/GetExtendedAgentCard",
            "a2a.v1.A2AService/GetAgentCard",
        ):
            ask: Any = channel.unary_unary(f"/{method}")
            assert await ask(b"").code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_tenants_are_apart() -> None:
    async with (
        served(Script(ANSWER), a2a={"tenants": ["red"]}) as (_, _, target),
        grpc.aio.insecure_channel(target) as channel,
    ):
        stub = stub_of(channel)
        sent = request("hi")
        sent.tenant = "red"
        task_id = (await stub.SendMessage(sent)).task.id
        found = await stub.GetTask(v1.GetTaskRequest(tenant="red", id=task_id))
        assert found.id == task_id
        codes = {
            tenant: await stub.GetTask(v1.GetTaskRequest(tenant=tenant, id=task_id)).code()
            for tenant in ("", "blue")
        }
        assert codes == {
            "": grpc.StatusCode.NOT_FOUND,
            "blue": grpc.StatusCode.INVALID_ARGUMENT,
        }


async def test_a_repeated_key_is_the_same_task() -> None:
    async with (
        served(Script(ANSWER)) as (_, _, target),
        grpc.aio.insecure_channel(target) as channel,
    ):
        stub = stub_of(channel)
        sent, key = request("hi"), (("idempotency-key", "key-1"),)
        first = await stub.SendMessage(sent, metadata=key)
        assert (await stub.SendMessage(sent, metadata=key)).task.id == first.task.id
        sent.message.parts[0].text = "ho"
        code = await stub.SendMessage(sent, metadata=key).code()
        assert code is grpc.StatusCode.ALREADY_EXISTS


async def test_a_task_is_the_same_on_every_binding(card: str) -> None:
    """Sent over gRPC, read over JSON-RPC."""
    async with served(Script(ANSWER), card) as (client, url, _):
        task_id = (await events_of(client, "hi"))[0].task.id
        call = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": task_id}}
        async with httpx.AsyncClient() as http:
            answer = await http.post(f"{url}/a2a", json=call)
        task = answer.json()["result"]
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        assert [part["text"] for part in task["artifacts"][0]["parts"]] == ["one two"]


async def test_streams_end_when_the_server_stops() -> None:
    """The caller hears what became of the task, and no broken connection."""
    script = Script([TextDelta("one "), anyio.Event()])
    async with AsyncExitStack() as outlast:
        async with served(script, a2a={"drain_seconds": 0.1}) as (_, _, target):
            channel = await outlast.enter_async_context(grpc.aio.insecure_channel(target))
            stub = stub_of(channel)
            call = stub.SendStreamingMessage(request("hi"))
            assert (await call.read()).task.id
        while (event := await call.read()) is not grpc.aio.EOF:
            last = event
        assert last.status_update.status.state == v1.TASK_STATE_FAILED
