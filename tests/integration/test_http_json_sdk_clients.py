"""The client of a2a-sdk over HTTP+JSON, in both versions, against the server on a socket."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import httpx
import pytest
from a2a.client import ClientConfig, create_client
from a2a.client.errors import A2AClientError
from a2a.helpers import get_artifact_text, get_message_text, new_text_message
from a2a.types import a2a_pb2 as v1
from a2a.utils.errors import (
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)

from agent.app import create_app
from agent.settings import Settings
from agent.stacks import DirectMessage, FilePart, InputRequired, TextDelta, TextPart
from tests.fakes.api_key import KEYED, SHOWN
from tests.fakes.scripted_stack import DONE, STACK, Script, scripted
from tests.fakes.server import listen, run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from a2a.client import Client

pytestmark = pytest.mark.anyio

ANSWER = [TextDelta("one "), TextDelta("two"), DONE]
CARD = "/.well-known/agent-card.json"
PICTURE = bytes(range(256))


class Served(NamedTuple):
    """A server and a client of it, with the paths that were called."""

    client: Client
    script: Script
    paths: list[str]


@pytest.fixture(params=["1.0", "0.3"])
def version(request: pytest.FixtureRequest) -> str:
    """Return the version of the card: with that of 0.3 the client speaks 0.3."""
    version: str = request.param
    return version


@asynccontextmanager
async def served(
    script: Script,
    version: str,
    *,
    streaming: bool = True,
    idle: float = 3600.0,
    extended_card: Path | None = None,
) -> AsyncIterator[Served]:
    """Serve ``script``; the client finds HTTP+JSON by the card."""
    listening = listen()
    paths: list[str] = []

    async def note(request: httpx.Request) -> None:
        paths.append(request.url.path)

    with scripted(script) as name, anyio.fail_after(10):
        settings = Settings.model_validate(
            {
                "name": name,
                "stack": STACK,
                "a2a": {
                    "tenants": ["acme"],
                    "keep_alive_seconds": 0.01,
                    "extended_card_path": extended_card,
                },
                "limits": {"stream_idle_seconds": idle},
                "a2a_state": {"memory": True},
                "push": {"allow": ["127.0.0.1"]},
                "service": {"base_url": listening[1]},
                "authentication": KEYED,
            }
        )
        async with (
            run_server(create_app(settings), listening) as url,
            httpx.AsyncClient(event_hooks={"request": [note]}, headers=SHOWN) as http,
        ):
            config = ClientConfig(
                streaming=streaming,
                httpx_client=http,
                supported_protocol_bindings=["HTTP+JSON"],
            )
            path = f"{CARD}?version={version}"
            client = await create_client(url, config, relative_card_path=path)
            paths.clear()
            async with client:
                yield Served(client, script, paths)


def request(text: str, **fields: str) -> v1.SendMessageRequest:
    message = new_text_message(text, role=v1.Role.ROLE_USER)
    for name, value in fields.items():
        setattr(message, name, value)
    return v1.SendMessageRequest(message=message)


async def test_the_client_streams(version: str) -> None:
    async with served(Script(ANSWER), version) as (client, _, paths):
        events = [event async for event in client.send_message(request("hi"))]
        assert paths == ["/v1/message:stream" if version == "0.3" else "/message:stream"]
        kinds = [event.WhichOneof("payload") for event in events]
        assert (kinds[0], set(kinds[1:-1])) == ("task", {"status_update", "artifact_update"})
        texts = [
            get_artifact_text(event.artifact_update.artifact)
            for event in events
            if event.HasField("artifact_update")
        ]
        assert "".join(texts) == "one two"
        assert events[-1].status_update.status.state == v1.TaskState.TASK_STATE_COMPLETED
        task = await client.get_task(v1.GetTaskRequest(id=events[0].task.id))
        assert [get_artifact_text(artifact) for artifact in task.artifacts] == ["one two"]
        assert [get_message_text(message) for message in task.history] == ["hi"]


async def test_the_client_sends(version: str) -> None:
    async with served(Script(ANSWER), version, streaming=False) as (client, _, paths):
        (event,) = [event async for event in client.send_message(request("hi"))]
        assert paths == ["/v1/message:send" if version == "0.3" else "/message:send"]
        assert event.task.status.state == v1.TaskState.TASK_STATE_COMPLETED
        assert get_artifact_text(event.task.artifacts[0]) == "one two"
        assert event.task.status.HasField("timestamp")
        assert await client.get_task(v1.GetTaskRequest(id=event.task.id)) == event.task


@pytest.mark.parametrize("streaming", [True, False])
async def test_the_client_gets_a_message(version: str, streaming: bool) -> None:
    script = Script([DirectMessage((TextPart("hello"),))])
    async with served(script, version, streaming=streaming) as (client, *_):
        (event,) = [event async for event in client.send_message(request("hi"))]
        assert get_message_text(event.message) == "hello"


async def test_files_arrive_whole_both_ways(version: str) -> None:
    script = Script([DirectMessage((FilePart("p.png", "image/png", data=PICTURE),))])
    async with served(script, version, streaming=False) as (client, *_):
        sent = request("look")
        sent.message.parts.add(raw=PICTURE, filename="q.png", media_type="image/png")
        (event,) = [event async for event in client.send_message(sent)]
    (part,) = event.message.parts
    assert (part.raw, part.filename, part.media_type) == (PICTURE, "p.png", "image/png")
    assert script.requests[0].parts[1] == FilePart("q.png", "image/png", data=PICTURE)


@pytest.mark.parametrize("streaming", [True, False])
async def test_the_client_goes_on_with_a_task(version: str, streaming: bool) -> None:
    script = Script([InputRequired("Which city?", {"form": {"a": 1.0}})], ANSWER)
    async with served(script, version, streaming=streaming) as (client, *_):
        asked = [event async for event in client.send_message(request("Weather?"))]
        task_id = asked[0].task.id
        task = await client.get_task(v1.GetTaskRequest(id=task_id))
        assert task.status.state == v1.TaskState.TASK_STATE_INPUT_REQUIRED
        assert get_message_text(task.status.message) == "Which city?"
        async for _ in client.send_message(request("Zürich", task_id=task_id)):
            pass
        task = await client.get_task(v1.GetTaskRequest(id=task_id, history_length=2))
        assert task.status.state == v1.TaskState.TASK_STATE_COMPLETED
        assert [get_message_text(message) for message in task.history] == ["Which city?", "Zürich"]


async def test_the_client_leaves_a_stream_subscribes_and_cancels(version: str) -> None:
    async with served(Script([TextDelta("one "), anyio.Event()]), version) as (client, *_):
        stream: Any = client.send_message(request("hi"))
        async with aclosing(stream):
            task_id = (await anext(stream)).task.id
        states: list[int] = []
        async for update in client.subscribe(v1.SubscribeToTaskRequest(id=task_id)):
            if update.HasField("task"):
                task = await client.cancel_task(v1.CancelTaskRequest(id=task_id))
                assert task.status.state == v1.TaskState.TASK_STATE_CANCELED
            elif update.HasField("status_update"):
                states.append(update.status_update.status.state)
        assert states[-1] == v1.TaskState.TASK_STATE_CANCELED
        with pytest.raises(TaskNotCancelableError):
            await client.cancel_task(v1.CancelTaskRequest(id=task_id))


async def test_the_client_lists_tasks() -> None:
    """The client refuses to list tasks in 0.3."""
    async with served(Script(ANSWER), "1.0", streaming=False) as (client, *_):
        (first,) = [event async for event in client.send_message(request("hi", context_id="c"))]
        (second,) = [event async for event in client.send_message(request("hi", context_id="d"))]
        page = await client.list_tasks(v1.ListTasksRequest(page_size=1, include_artifacts=True))
        assert [task.id for task in page.tasks] == [second.task.id]
        assert get_artifact_text(page.tasks[0].artifacts[0]) == "one two"
        assert page.total_size == 2
        rest = await client.list_tasks(v1.ListTasksRequest(page_token=page.next_page_token))
        assert [task.id for task in rest.tasks] == [first.task.id]
        chosen = v1.ListTasksRequest(
            context_id="c", status=v1.TaskState.TASK_STATE_COMPLETED, history_length=0
        )
        chosen.status_timestamp_after.FromJsonString("2026-01-31T12:00:00Z")
        (task,) = (await client.list_tasks(chosen)).tasks
        assert (task.id, len(task.history)) == (first.task.id, 0)


async def test_the_client_keeps_push_configurations(version: str) -> None:
    async with served(Script([anyio.Event()]), version, streaming=False) as (client, *_):
        hurried = request("hi")
        hurried.configuration.return_immediately = True
        (event,) = [event async for event in client.send_message(hurried)]
        task_id = event.task.id
        wanted = v1.TaskPushNotificationConfig(
            id="p-1", task_id=task_id, url="http://127.0.0.1:9000/hook", token="abc"
        )
        wanted.authentication.scheme = "Bearer"
        created = await client.create_task_push_notification_config(wanted)
        assert (created.id, created.task_id, created.token) == ("p-1", task_id, "abc")
        named = v1.GetTaskPushNotificationConfigRequest(task_id=task_id, id="p-1")
        got = await client.get_task_push_notification_config(named)
        assert got == created
        assert got.authentication.scheme == "Bearer"
        if version == "0.3":  # the client has no more of it there
            return
        every = v1.ListTaskPushNotificationConfigsRequest(task_id=task_id)
        listed = await client.list_task_push_notification_configs(every)
        assert list(listed.configs) == [created]
        await client.delete_task_push_notification_config(
            v1.DeleteTaskPushNotificationConfigRequest(task_id=task_id, id="p-1")
        )
        assert not (await client.list_task_push_notification_configs(every)).configs


@pytest.mark.parametrize("streaming", [True, False])
async def test_the_client_knows_our_errors(version: str, streaming: bool) -> None:
    async with served(Script(ANSWER), version, streaming=streaming) as (client, *_):
        with pytest.raises(TaskNotFoundError):
            await client.get_task(v1.GetTaskRequest(id="nowhere"))
        done = [event async for event in client.send_message(request("hi"))]
        refused = {
            TaskNotFoundError: request("hi", task_id="nowhere"),
            UnsupportedOperationError: request("hi", task_id=done[0].task.id),
            InvalidParamsError: request("hi", context_id="x" * 1_000),
        }
        for error, message in refused.items():
            with pytest.raises(error):
                _ = [event async for event in client.send_message(message)]


async def test_the_client_hears_of_a_stream_that_broke(version: str) -> None:
    async with served(Script([anyio.Event()]), version, idle=0.02) as (client, *_):
        with pytest.raises(A2AClientError, match="STREAM_ENDED"):
            _ = [event async for event in client.send_message(request("hi"))]


async def test_the_client_reads_the_extended_card(version: str, tmp_path: Path) -> None:
    document = tmp_path / "extended.yaml"
    document.write_text("description: For those who are known.\n")
    async with served(Script(ANSWER), version, extended_card=document) as (client, _, paths):
        card = await client.get_extended_agent_card(v1.GetExtendedAgentCardRequest())
    assert paths == ["/v1/card" if version == "0.3" else "/extendedAgentCard"]
    assert card.description == "For those who are known."
    assert card.skills


async def test_a_tenant_of_the_client_is_in_the_path() -> None:
    async with served(Script(ANSWER), "1.0", streaming=False) as (client, script, paths):
        of_tenant = request("hi")
        of_tenant.tenant = "acme"
        (event,) = [event async for event in client.send_message(of_tenant)]
        assert paths == ["/acme/message:send"]
        assert script.requests[0].tenant == "acme"
        task = await client.get_task(v1.GetTaskRequest(id=event.task.id, tenant="acme"))
        assert task.id == event.task.id
        with pytest.raises(TaskNotFoundError):
            await client.get_task(v1.GetTaskRequest(id=event.task.id))
