"""Two servers on one database: it makes no difference which of them hears of what."""

from __future__ import annotations

import signal
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import anyio
import httpx
import pytest

from tests.conformance.wire_0_3 import V0_3
from tests.conformance.wire_1_0 import V1_0
from tests.durability.follower import (
    Broken,
    Follower,
    Story,
    called,
    message,
    story_of,
    streaming,
    subscribing,
    texts_of,
)
from tests.durability.process import Process, running, state_of, until
from tests.durability.stack import pieces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conformance.wire import Json

pytestmark = pytest.mark.anyio

LIMIT = 60


class Pair(NamedTuple):
    """Two servers, and a client of each."""

    a: httpx.AsyncClient
    b: httpx.AsyncClient
    server_a: Process

    def noted(self, name: str) -> list[str]:
        """Return what the turns of both noted of messages that end with a name."""
        return [line for line in self.server_a.noted() if line.endswith(f":{name}")]


@asynccontextmanager
async def pair(folder: Path, url: str, lease_seconds: float) -> AsyncIterator[Pair]:
    """Serve one database twice."""
    a2a = {"recovery": "retry", "lease_seconds": lease_seconds, "drain_seconds": 0}
    server_a, server_b = [
        Process(folder, pause_ms=10, a2a_state=state_of(url), a2a=a2a) for _ in range(2)
    ]
    async with (
        running(server_a, server_b),
        httpx.AsyncClient(base_url=server_a.url, timeout=LIMIT) as a,
        httpx.AsyncClient(base_url=server_b.url, timeout=LIMIT) as b,
    ):
        yield Pair(a, b, server_a)


@pytest.fixture(scope="module")
async def both(module_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """Return two servers for all tests of this module."""
    async with pair(tmp_path_factory.mktemp("both"), module_url, lease_seconds=30) as started:
        yield started


async def started(http: httpx.AsyncClient, text: str) -> str:
    """Send a message without waiting for its task; returns the id."""
    said = message(V1_0, text, str(uuid.uuid4()))
    configuration = {"returnImmediately": True}
    sent = await called(http, "send", {"message": said, "configuration": configuration})
    task_id: str = sent.sent["task"]["id"]
    return task_id


async def listen(http: httpx.AsyncClient, task_id: str, after: int | None, story: Story) -> None:
    """Subscribe until the stream ends."""
    async with subscribing(http, V1_0, task_id, after) as events:
        async for event in events:
            story.hear(event)


async def test_a_task_is_followed_at_either_server(both: Pair) -> None:
    """From its beginning, from some event, and from now on: the same events under the same numbers."""
    follower = Follower(both.a, "words:100:told")
    at_a, at_b, joined, later = stories = [Story() for _ in range(4)]
    places = ((both.a, 0), (both.b, 0), (both.b, None), (both.b, 7))
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as following:
            following.start_soon(follower.follow)
            await until(lambda: len(follower.story.events) >= 10)
            task_id = follower.story.task_id
            for story, (http, after) in zip(stories, places, strict=True):
                following.start_soon(listen, http, task_id, after, story)
        log = await story_of(both.b, task_id)

    assert log.text == "".join(pieces("words:100:told"))
    assert follower.story.events == at_a.events == at_b.events == log.events
    assert [event.seq for event in log.events] == list(range(1, len(log.events) + 1))
    assert later.events == log.events[7:]
    first = joined.events[0].seq
    assert first is not None
    assert joined.events[1:] == log.events[first:]
    assert joined.texts == log.texts


@pytest.mark.parametrize("followed", [True, False], ids=["followed", "not followed"])
async def test_a_task_is_canceled_at_the_other_server(both: Pair, followed: bool) -> None:
    """It ends once, at both, and its turn is given up."""
    name = f"endless-{followed}"
    heard = [Story(), Story()] if followed else []
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as following:
            task_id = await started(both.a, f"words:100000:{name}")
            for http, story in zip((both.a, both.b), heard, strict=False):
                following.start_soon(listen, http, task_id, 0, story)
            await until(lambda: all(story.events for story in heard))
            canceled = await called(both.b, "cancel", {"id": task_id})

        assert canceled.task["status"]["state"] == "TASK_STATE_CANCELED"
        for http in (both.a, both.b):
            assert (await called(http, "cancel", {"id": task_id})).code == -32002
            assert (await called(http, "get", {"id": task_id})).task == canceled.task
            log = await story_of(http, task_id)
            assert log.ends == ["TASK_STATE_CANCELED"]
            assert log.texts == texts_of(canceled.task)
            assert [story.events for story in heard] == [log.events] * len(heard)
    assert [line.partition(" ")[0] for line in both.noted(name)] == ["began", "closed"]


async def test_follow_ups_at_both_servers_come_one_after_the_other(both: Pair) -> None:
    """A task that asks again takes both; one that has ended refuses the second."""
    waits, ended = "TASK_STATE_INPUT_REQUIRED", "TASK_STATE_COMPLETED"
    with anyio.fail_after(LIMIT):
        await _follow_up_twice(both, "ask:again", [waits, waits])
        await _follow_up_twice(both, "words:20:again", [-32004, ended])


async def _follow_up_twice(both: Pair, text: str, expected: list[Json]) -> None:
    answers: list[Json] = []

    async def say(http: httpx.AsyncClient, text: str, task_id: str) -> None:
        said = message(V1_0, text, str(uuid.uuid4()), taskId=task_id)
        reply = await called(http, "send", {"message": said})
        answers.append(reply.code if reply.is_error else reply.sent["task"]["status"]["state"])

    task_id = await started(both.a, "ask:first")
    before = len(both.noted("again"))
    async with anyio.create_task_group() as saying:
        saying.start_soon(say, both.a, text, task_id)
        saying.start_soon(say, both.b, text, task_id)

    assert sorted(answers, key=str) == expected
    # Each turn ends before the next begins.
    turns = len([answer for answer in answers if answer != -32004])
    noted = [line.partition(" ")[0] for line in both.noted("again")[before:]]
    assert noted == ["began", "ended"] * turns
    for http in (both.a, both.b):
        history = (await called(http, "get", {"id": task_id})).task["history"]
        said = [one["parts"][0]["text"] for one in history if one["role"] == "ROLE_USER"]
        assert said == ["ask:first", *[text] * turns]


async def test_one_message_to_both_servers_is_one_task(both: Pair) -> None:
    """However it is sent; the stream of one is that of the other."""
    with anyio.fail_after(LIMIT):
        for number in range(5):
            await _send_everywhere(both, f"once-{number}")


async def _send_everywhere(both: Pair, name: str) -> None:
    params = {"message": message(V1_0, f"words:10:{name}", str(uuid.uuid4()))}
    tasks: list[Json] = []
    stories = [Story(), Story()]

    async def send(http: httpx.AsyncClient) -> None:
        tasks.append((await called(http, "send", params)).sent["task"])

    async def stream(http: httpx.AsyncClient, story: Story) -> None:
        async with streaming(http, V1_0, "stream", params) as events:
            async for event in events:
                story.hear(event)

    async with anyio.create_task_group() as sending:
        for http, story in zip((both.a, both.b), stories, strict=True):
            sending.start_soon(stream, http, story)
            sending.start_soon(send, http)

    assert stories[0].events == stories[1].events
    assert stories[0].text == "".join(pieces(f"words:10:{name}"))
    assert tasks[0] == tasks[1]
    assert tasks[0]["id"] == stories[0].task_id
    assert [line.partition(" ")[0] for line in both.noted(name)] == ["began", "ended"]


@pytest.mark.long
async def test_a_server_that_was_suspended_for_too_long_changes_nothing_any_more(
    tmp_path: Path, module_url: str
) -> None:
    """The other one has its task; whoever follows at either hears one story with one end."""
    text = "words:200:slept"
    with anyio.fail_after(LIMIT):
        async with pair(tmp_path, module_url, lease_seconds=1) as both:
            follower, other = Follower(both.a, text), Follower(both.b, text, V0_3)
            async with anyio.create_task_group() as following:
                following.start_soon(follower.follow)
                await until(lambda: len(follower.story.events) >= 10)
                other.story.task_id = follower.story.task_id
                both.server_a.signal(signal.SIGSTOP)
                following.start_soon(_listen_on, both.b, other)
                await until(lambda: both.noted("slept").count(f"began {text}") == 2)
                both.server_a.signal(signal.SIGCONT)

            log = await story_of(both.b, follower.story.task_id)
            task = (await called(both.a, "get", {"id": follower.story.task_id})).task
            assert task["status"]["state"] == "TASK_STATE_COMPLETED"
            for story in (follower.story, other.story, log):
                assert story.ends == ["TASK_STATE_COMPLETED"]
                assert story.text == "".join(pieces(text))
                assert story.texts == texts_of(task)


async def _listen_on(http: httpx.AsyncClient, follower: Follower) -> None:
    """Subscribe from now on."""
    try:
        await listen(http, follower.story.task_id, None, follower.story)
    except Broken:
        await listen(http, follower.story.task_id, follower.story.last_seq, follower.story)
