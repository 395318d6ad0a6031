"""What happens at the same time has one outcome: in process, many times over, on every database."""

from __future__ import annotations

import os
import random
import secrets
import uuid
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint

from agent.app import create_app
from agent.settings import Settings
from agent.stacks import InputRequired, TextDelta, TextPart
from tests.conformance.client import Client, Server, serving
from tests.conformance.wire_0_3 import V0_3
from tests.conformance.wire_1_0 import V1_0
from tests.durability.follower import ENDS, Story
from tests.durability.process import state_of
from tests.fakes.scripted_stack import DONE, STACK, Script, scripted
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from agent.stacks import TurnEvent, TurnRequest
    from tests.conformance.reply import Event
    from tests.conformance.wire import Json

pytestmark = pytest.mark.anyio

LIMIT = 300
MANY = 50
SHORT, LONG = 8, 300
LIMITS = {"running_tasks": 10_000, "running_tasks_per_owner": 10_000}

times = pytest.mark.parametrize(
    "times", [SHORT, pytest.param(LONG, marks=pytest.mark.long)], ids=["short", "long"]
)


@pytest.fixture
def chance() -> random.Random:
    """Return what decides who is first; it is told how to decide so again."""
    seed = int(os.environ.get("DURABILITY_SEED") or secrets.randbits(32))
    print(f"DURABILITY_SEED={seed}")  # noqa: T201 - to see it fail again
    return random.Random(seed)  # noqa: S311 - no secret


@asynccontextmanager
async def server(script: Script, database_url: str) -> AsyncIterator[Client]:
    """Serve a script on a database."""
    with anyio.fail_after(LIMIT):
        async with serving(script, V1_0, a2a_state=state_of(database_url), limits=LIMITS) as client:
            yield client


@asynccontextmanager
async def listening(script: Script, database_url: str) -> AsyncIterator[Client]:
    """Do so on a socket: for those who read events as they come, and leave when they like."""
    with anyio.fail_after(LIMIT), scripted(script) as name:
        state: Json = state_of(database_url)
        settings = Settings(name=name, stack=STACK, a2a_state=state)
        connections = httpx.Limits(max_connections=None)
        async with (
            run_server(create_app(settings)) as url,
            httpx.AsyncClient(base_url=url, limits=connections, timeout=LIMIT) as http,
        ):
            yield Client(Server(http, None), V1_0, script)


async def hesitate(chance: random.Random) -> None:
    """Let others go first, or not: for some rounds of the event loop, or some milliseconds."""
    if chance.random() < 0.5:
        await anyio.sleep(chance.uniform(0, 0.01))
    for _ in range(chance.randrange(12)):
        await checkpoint()


def told(events: list[Event]) -> Story:
    """Return what events tell."""
    story = Story()
    for event in events:
        story.hear(event)
    return story


def said(request: TurnRequest) -> str:
    """Return the text of a message."""
    return "".join(part.text for part in request.parts if isinstance(part, TextPart))


@times
async def test_a_task_that_is_canceled_while_it_completes_ends_once(
    database_url: str, times: int, chance: random.Random
) -> None:
    """Whoever cancels hears whether that is how it ended; whoever follows hears the same end."""
    gates: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)
    script = Script(_until(gates))
    outcomes: Counter[str] = Counter()
    async with server(script, database_url) as client:
        for number in range(times):
            wire = (V1_0, V0_3)[number % 2]
            outcomes[await _cancel_and_complete(client.speaking(wire), gates, chance)] += 1
        assert len(script.requests) == script.closed_turns == times
    print(dict(outcomes))  # noqa: T201 - how even the race is
    assert outcomes.total() == times


def _until(gates: dict[str, anyio.Event]) -> Any:
    async def turn(request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        yield TextDelta("so far")
        await gates[request.task_id].wait()
        yield TextDelta(" and so on")
        yield DONE

    return turn


async def _cancel_and_complete(
    client: Client, gates: dict[str, anyio.Event], chance: random.Random
) -> str:
    at_once = client.wire.configuration(at_once=True)
    params = client.params("hi", configuration=at_once)
    task_id = (await client.call(client.wire.send, params)).sent["task"]["id"]
    heard: list[Story] = []
    answers: list[Json] = []

    async def follow(after: str) -> None:
        await hesitate(chance)
        heard.append(told((await client.subscribed(task_id, Last_Event_ID=after)).events()))

    async def complete() -> None:
        await hesitate(chance)
        gates[task_id].set()

    async def cancel() -> None:
        await hesitate(chance)
        reply = await client.cancel(task_id)
        state = None if reply.is_error else reply.task["status"]["state"]
        answers.append(reply.code if reply.is_error else state)

    async with anyio.create_task_group() as racing:
        for job in (complete, cancel):
            racing.start_soon(job)
        for after in ("0", "1"):
            racing.start_soon(follow, after)

    state: str = (await client.get(task_id)).task["status"]["state"]
    canceled = "TASK_STATE_CANCELED"
    assert state in {canceled, "TASK_STATE_COMPLETED"}
    assert answers == [canceled if state == canceled else -32002]
    log = told((await client.subscribed(task_id, Last_Event_ID="0")).events())
    assert log.ends == [state]
    assert sorted(len(story.events) for story in heard) == [len(log.events) - 1, len(log.events)]
    for story in heard:
        assert story.events == log.events[-len(story.events) :]
    return state


@times
@pytest.mark.parametrize("again", [True, False], ids=["asks again", "ends"])
async def test_two_answers_to_one_question_come_one_after_the_other(
    database_url: str, times: int, chance: random.Random, again: bool
) -> None:
    """The second is a follow-up of the first, or is refused because the task has ended."""
    running: Counter[str] = Counter()

    async def turn(request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        running[request.task_id] += 1
        assert running[request.task_id] == 1
        yield TextDelta(said(request))
        await hesitate(chance)
        running[request.task_id] -= 1
        yield InputRequired("Which?") if again or said(request) == "ask" else DONE

    async with server(Script(turn), database_url) as client:
        for _ in range(times // 2):
            asked = await client.send_task("ask")
            answers: dict[str, Json] = {}

            async def answer(text: str, task_id: str, answers: dict[str, Json]) -> None:
                await hesitate(chance)
                params = client.params(text, taskId=task_id, messageId=text)
                reply = await client.call(client.wire.send, params)
                task = None if reply.is_error else reply.sent["task"]
                answers[text] = reply.code if task is None else task["status"]["state"]

            async with anyio.create_task_group() as racing:
                for text in ("one", "two"):
                    racing.start_soon(answer, text, asked["id"], answers)

            task = (await client.get(asked["id"])).task
            texts = [message["parts"][0]["text"] for message in task["history"]]
            first = texts[2]
            second = "two" if first == "one" else "one"
            if again:
                assert texts[:2] + texts[3:] == ["ask", "Which?", "Which?", second]
                assert set(answers.values()) == {"TASK_STATE_INPUT_REQUIRED"}
            else:
                assert texts == ["ask", "Which?", first]
                assert answers == {first: "TASK_STATE_COMPLETED", second: -32004}


@times
@pytest.mark.parametrize("by", ["messageId", "Idempotency-Key"])
async def test_many_duplicates_of_one_message_are_one_task(
    database_url: str, times: int, chance: random.Random, by: str
) -> None:
    """Sent or streamed: all hear of the same task, whose turn ran once."""

    async def turn(request: TurnRequest) -> AsyncGenerator[TurnEvent]:
        for piece in said(request).split():
            await hesitate(chance)
            yield TextDelta(piece)
        yield DONE

    script = Script(turn)
    async with server(script, database_url) as client:
        for number in range(max(1, times // 30)):
            key = str(uuid.uuid4())
            is_id = by == "messageId"
            params = client.params("one two three", messageId=key if is_id else "message-1")
            headers = {} if is_id else {"Idempotency_Key": key}
            tasks: list[Json] = []
            streams: list[list[Event]] = []

            async def send(
                params: Json, headers: dict[str, str], into: list[Json], _: list[list[Event]]
            ) -> None:
                await hesitate(chance)
                reply = await client.call(client.wire.send, params, **headers)
                into.append(reply.sent["task"])

            async def stream(
                params: Json, headers: dict[str, str], _: list[Json], into: list[list[Event]]
            ) -> None:
                await hesitate(chance)
                reply = await client.call(client.wire.stream, params, **headers)
                into.append(reply.events())

            async with anyio.create_task_group() as racing:
                for copy in range(MANY):
                    job = stream if copy % 2 else send
                    racing.start_soon(job, params, headers, tasks, streams)

            assert len(script.requests) == number + 1
            assert len(tasks) == len(streams) == MANY // 2
            story = told(streams[0])
            assert (story.text, story.state) == ("onetwothree", "TASK_STATE_COMPLETED")
            assert story.events[0].seq == 1
            assert all(task == tasks[0] for task in tasks)
            assert all(events == story.events for events in streams)
            assert tasks[0]["id"] == story.task_id
            await _is_refused_with_other_content(client, key, by)


async def _is_refused_with_other_content(client: Client, key: str, by: str) -> None:
    if by == "messageId":
        refused = await client.refused("four", messageId=key)
        assert (refused.status, refused.code, refused.field) == (200, -32602, "message.messageId")
    else:
        params = client.params("four")
        reply = await client.call(client.wire.send, params, Idempotency_Key=key)
        assert (reply.status, reply.code) == (409, -32602)


async def test_ids_that_are_not_unique_make_tasks_of_their_own(database_url: str) -> None:
    """Callers and test kits use them again and again."""
    odd = f"x{uuid.uuid4()}"
    texts = ["hi", "ho"]
    script = Script([TextDelta("yes"), DONE])
    ids: list[str] = []
    async with server(script, database_url) as client:

        async def send(message_id: str, text: str) -> None:
            ids.append((await client.send_task(text, messageId=message_id))["id"])

        async with anyio.create_task_group() as racing:
            for number in range(20):
                racing.start_soon(send, ("msg-1", odd)[number % 2], texts[number // 10])
        assert len(set(ids)) == len(script.requests) == 20


@pytest.mark.parametrize(
    "subscribers", [12, pytest.param(150, marks=pytest.mark.long)], ids=["short", "long"]
)
async def test_subscribers_that_come_and_go_hear_what_happens_without_a_gap(
    database_url: str, subscribers: int, chance: random.Random
) -> None:
    """From wherever they begin: each event once, in order, as everybody else."""
    stories = [Story() for _ in range(subscribers)]
    pieces: list[str] = []

    async def turn(_: TurnRequest) -> AsyncGenerator[TurnEvent]:
        while len(pieces) < 50 or not all(story.events for story in stories):
            pieces.append(f"{len(pieces)} ")
            yield TextDelta(pieces[-1])
            if chance.random() < 0.2:
                await anyio.sleep(chance.uniform(0, 0.01))
        yield DONE

    async with listening(Script(turn), database_url) as client:
        params = client.params("hi", configuration=client.wire.configuration(at_once=True))
        task_id = (await client.call(client.wire.send, params)).sent["task"]["id"]
        async with anyio.create_task_group() as subscribing:
            for story in stories:
                subscribing.start_soon(_come_and_go, client, task_id, story, chance)
        log = told((await client.subscribed(task_id, Last_Event_ID="0")).events())

    assert log.ends == ["TASK_STATE_COMPLETED"]
    assert log.text == "".join(pieces)
    assert [event.seq for event in log.events] == list(range(1, len(log.events) + 1))
    for story in stories:
        first = story.events[0].seq
        assert first is not None
        joined = "task" in story.events[0].result
        heard = [(event.seq, event.result) for event in story.events[joined:]]
        kept = [(event.seq, event.result) for event in log.events[first - 1 + joined :]]
        assert heard == kept[: len(heard)]
        if story.state in ENDS:
            assert story.text == log.text


async def _come_and_go(client: Client, task_id: str, story: Story, chance: random.Random) -> None:
    """Subscribe, leave after some events, and come back for what follows; some do not come back."""
    await anyio.sleep(chance.uniform(0, 0.1))
    wire = chance.choice((V1_0, V0_3))
    after = chance.choice((None, 0, 1))
    for _ in range(chance.randrange(1, 5)):
        leaves_after = chance.choice((1, 3, 20, 10_000))
        await _hear(client.speaking(wire), task_id, story, after, leaves_after)
        if story.state in ENDS:
            return
        after = story.last_seq


async def _hear(client: Client, task_id: str, story: Story, after: int | None, most: int) -> None:
    headers = {} if after is None else {"Last_Event_ID": str(after)}
    async with client.subscribing(task_id, **headers) as events:
        async for event in events:
            story.hear(event)
            most -= 1
            if not most:
                return
