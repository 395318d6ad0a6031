"""A server that is told to stop: what runs ends or is handed over, what is new is sent elsewhere."""

from __future__ import annotations

import signal
import uuid
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from tests.conformance.wire_0_3 import V0_3
from tests.conformance.wire_1_0 import V1_0
from tests.durability.follower import Follower, called, message, story_of, texts_of
from tests.durability.process import Process, running, state_of, until
from tests.durability.stack import pieces

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.wire import Wire

pytestmark = pytest.mark.anyio

LIMIT = 60
WELL = {0, -signal.SIGTERM}
"""uvicorn ends by the signal that it was sent, after it has stopped in order."""


def serving(folder: Path, url: str, drain_seconds: float) -> Process:
    """Return a server whose turns take 20 ms for each piece."""
    a2a = {"recovery": "retry", "lease_seconds": 30, "drain_seconds": drain_seconds}
    return Process(folder, a2a_state=state_of(url), a2a=a2a)


async def heard(follower: Follower, events: int = 1) -> None:
    """Wait until a client has heard so much."""
    await until(lambda: len(follower.story.events) >= events)


@pytest.mark.parametrize(
    "wire", [V1_0, pytest.param(V0_3, marks=pytest.mark.long)], ids=lambda wire: wire.name
)
async def test_a_task_that_is_handed_over_ends_with_exactly_its_text(
    tmp_path: Path, shared_url: str, wire: Wire
) -> None:
    """Its stream ends with an error that says how to go on; it does not wait for the lease."""
    server = serving(tmp_path, shared_url, drain_seconds=0)
    with anyio.fail_after(LIMIT):
        async with running(server), httpx.AsyncClient(base_url=server.url, timeout=LIMIT) as http:
            follower = Follower(http, "words:60:moved", wire)
            async with anyio.create_task_group() as following:
                following.start_soon(follower.follow)
                await heard(follower, 5)
                server.signal(signal.SIGTERM)
                assert await server.ended() in WELL
                await server.start()

            # The stream's own error, and those of tries to come back too early.
            assert {error["code"] for error in follower.errors} == {-32053}
            assert "Last-Event-ID" in follower.errors[0]["message"]
            task = (await called(http, "get", {"id": follower.story.task_id})).task
            assert task["status"]["state"] == "TASK_STATE_COMPLETED"
            assert follower.story.text == "".join(pieces(follower.text))
            log = await story_of(http, follower.story.task_id)
            assert follower.story.texts == texts_of(task) == log.texts
            assert follower.story.ends == log.ends == ["TASK_STATE_COMPLETED"]
    assert server.noted() == [
        "began words:60:moved",
        "closed words:60:moved",
        "began words:60:moved",
        "ended words:60:moved",
    ]


async def test_while_a_server_stops_streams_end_well_and_new_work_is_refused(
    tmp_path: Path, shared_url: str
) -> None:
    """What runs may end in time; who is still connected is told to try again, and when."""
    server = serving(tmp_path, shared_url, drain_seconds=20)
    with anyio.fail_after(LIMIT):
        async with running(server), httpx.AsyncClient(base_url=server.url, timeout=LIMIT) as http:
            follower = Follower(http, "words:100:stays")
            params = {"message": message(V1_0, "words:1:new", str(uuid.uuid4()))}
            async with anyio.create_task_group() as following:
                following.start_soon(follower.follow)
                await heard(follower)
                # This makes the connection that is kept alive.
                await called(http, "get", {"id": follower.story.task_id})
                server.signal(signal.SIGTERM)
                while not (refused := await called(http, "send", params)).is_error:
                    params = {"message": message(V1_0, "words:1:new", str(uuid.uuid4()))}
                streamed = await called(http, "stream", params)

            for reply in (refused, streamed):
                assert reply.status == 503
                assert reply.code == -32053
                assert reply.retry_after > 0
            assert await server.ended() in WELL
            assert (follower.connections, follower.errors) == (1, [])
            assert follower.story.text == "".join(pieces(follower.text))
            assert follower.story.ends == ["TASK_STATE_COMPLETED"]
            await server.start()
            # What was refused left nothing: it is taken now.
            sent = (await called(http, "send", params)).sent["task"]
            assert sent["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.long
async def test_what_is_only_in_memory_ends_with_its_server(tmp_path: Path) -> None:
    """Nobody can go on with it: its followers hear that it failed."""
    server = serving(tmp_path, "sqlite://", drain_seconds=0)
    with anyio.fail_after(LIMIT):
        async with running(server), httpx.AsyncClient(base_url=server.url, timeout=LIMIT) as http:
            follower = Follower(http, "words:1000:lost")
            async with anyio.create_task_group() as following:
                following.start_soon(follower.follow)
                await heard(follower, 3)
                server.signal(signal.SIGTERM)
                assert await server.ended() in WELL

            assert follower.story.ends == ["TASK_STATE_FAILED"]
