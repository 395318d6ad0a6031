"""The client of a2a-sdk, in both of its dialects, against the server on a socket."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import anyio
import httpx
import pytest
from a2a.client import ClientConfig, create_client
from a2a.helpers import get_artifact_text, get_message_text, new_text_message
from a2a.types import a2a_pb2 as v1
from a2a.utils.errors import (
    InvalidParamsError,
    TaskNotFoundError,
    UnsupportedOperationError,
)

from agent.app import create_app
from agent.settings import Settings
from agent.stacks import DirectMessage, InputRequired, TextDelta, TextPart
from tests.fakes.scripted_stack import DONE, STACK, Script, scripted
from tests.fakes.server import listen, run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from a2a.client import Client

pytestmark = pytest.mark.anyio

ANSWER = [TextDelta("one "), TextDelta("two"), DONE]
CARD_1_0 = "/.well-known/agent-card.json"
CARDS = {"hybrid": CARD_1_0, "1.0": f"{CARD_1_0}?version=1.0", "0.3": f"{CARD_1_0}?version=0.3"}


class Served(NamedTuple):
    """A server and a client of it, with the paths of the methods that were called."""

    client: Client
    script: Script
    methods: list[str]


@pytest.fixture(params=CARDS)
def card(request: pytest.FixtureRequest) -> str:
    """Return each way the card is served: with that of 0.3 the client speaks 0.3."""
    card: str = request.param
    return card


@asynccontextmanager
async def served(script: Script, card: str, *, streaming: bool = True) -> AsyncIterator[Served]:
    """Serve ``script``; the client finds everything by the card."""
    listening = listen()
    methods: list[str] = []

    async def note(request: httpx.Request) -> None:
        if request.method == "POST":
            methods.append(httpx.Response(200, content=request.content).json()["method"])

    with scripted(script) as name, anyio.fail_after(10):
        settings = Settings.model_validate(
            {
                "name": name,
                "stack": STACK,
                "a2a_state": {"memory": True},
                "service": {"base_url": listening[1]},
            }
        )
        async with (
            run_server(create_app(settings), listening) as url,
            httpx.AsyncClient(event_hooks={"request": [note]}) as http,
        ):
            config = ClientConfig(streaming=streaming, httpx_client=http)
            client = await create_client(url, config, relative_card_path=CARDS[card])
            async with client:
                yield Served(client, script, methods)


def request(text: str, **fields: str) -> v1.SendMessageRequest:
    message = new_text_message(text, role=v1.Role.ROLE_USER)
    for name, value in fields.items():
        setattr(message, name, value)
    return v1.SendMessageRequest(message=message)


async def test_the_client_streams(card: str) -> None:
    async with served(Script(ANSWER), card) as (client, _, methods):
        events = [event async for event in client.send_message(request("hi"))]
        assert methods == ["message/stream" if card == "0.3" else "SendStreamingMessage"]
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


async def test_the_client_sends(card: str) -> None:
    async with served(Script(ANSWER), card, streaming=False) as (client, _, methods):
        (event,) = [event async for event in client.send_message(request("hi"))]
        assert methods == ["message/send" if card == "0.3" else "SendMessage"]
        assert event.task.status.state == v1.TaskState.TASK_STATE_COMPLETED
        assert get_artifact_text(event.task.artifacts[0]) == "one two"
        assert event.task.status.HasField("timestamp")
        assert await client.get_task(v1.GetTaskRequest(id=event.task.id)) == event.task


@pytest.mark.parametrize("streaming", [True, False])
async def test_the_client_gets_a_message(card: str, streaming: bool) -> None:
    script = Script([DirectMessage((TextPart("hello"),))])
    async with served(script, card, streaming=streaming) as (client, *_):
        (event,) = [event async for event in client.send_message(request("hi"))]
        assert get_message_text(event.message) == "hello"


@pytest.mark.parametrize("streaming", [True, False])
async def test_the_client_goes_on_with_a_task(card: str, streaming: bool) -> None:
    script = Script([InputRequired("Which city?", {"form": {"a": 1.0}})], ANSWER)
    async with served(script, card, streaming=streaming) as (client, *_):
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


async def test_the_client_returns_at_once(card: str) -> None:
    gate = anyio.Event()
    script = Script([TextDelta("one "), gate, TextDelta("two"), DONE])
    async with served(script, card, streaming=False) as (client, *_):
        hurried = request("hi")
        hurried.configuration.return_immediately = True
        (event,) = [event async for event in client.send_message(hurried)]
        assert event.task.status.state != v1.TaskState.TASK_STATE_COMPLETED
        gate.set()
        state = event.task.status.state
        while state != v1.TaskState.TASK_STATE_COMPLETED:
            state = (await client.get_task(v1.GetTaskRequest(id=event.task.id))).status.state


@pytest.mark.parametrize("streaming", [True, False])
async def test_the_client_knows_our_errors(card: str, streaming: bool) -> None:
    async with served(Script(ANSWER), card, streaming=streaming) as (client, *_):
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
