"""Subscribing: the task first, then what becomes of it, for each of many, and again from anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from agent.stacks import InputRequired, StepStarted, TextDelta
from tests.conformance._requirements import requirement
from tests.conformance.client import in_process, on_socket
from tests.fakes.scripted_stack import ANSWER, DONE, Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conformance.client import Client, Event
    from tests.conformance.wire import Json, Wire

pytestmark = pytest.mark.anyio


async def started(client: Client) -> Json:
    """Send a message whose turn goes on; returns the task."""
    return await client.send_task("hi", configuration=client.wire.configuration(at_once=True))


async def first(events: AsyncIterator[Event]) -> Json:
    """Return the task that a subscription begins with."""
    return (await anext(events)).result["task"]


async def rest(events: AsyncIterator[Event]) -> list[Json]:
    """Return the updates up to the end."""
    results = [event.result for event in [event async for event in events]]
    assert all(result.keys() <= {"statusUpdate", "artifactUpdate"} for result in results)
    return results


def text_of(task: Json, updates: list[Json]) -> str:
    """Put a text together from the task that a subscription began with, and what followed."""
    parts = [part for artifact in task.get("artifacts", []) for part in artifact["parts"]]
    for update in updates:
        if "artifactUpdate" in update:
            added = update["artifactUpdate"]["artifact"]["parts"]
            parts = parts + added if update["artifactUpdate"].get("append") else added
    return "".join(part["text"] for part in parts)


def last_state(updates: list[Json]) -> str:
    state: str = updates[-1]["statusUpdate"]["status"]["state"]
    return state


@requirement(
    "1.0/subscribe-task-first",
    "1.0/subscribe-updates",
    "1.0/subscribe-closes",
    "1.0/artifact-append",
    "0.3/resubscribe",
    "0.3/resubscribe-final",
)
async def test_a_subscription_has_the_task_and_what_follows(wire: Wire) -> None:
    gates = [anyio.Event(), anyio.Event()]
    turn = [TextDelta("a"), gates[0], TextDelta("b"), gates[1], TextDelta("c"), DONE]
    async with on_socket(Script(turn), wire) as client:
        task = await started(client)
        async with client.subscribing(task["id"]) as events:
            now = await first(events)
            assert now["id"] == task["id"]
            assert now["status"]["state"] in {"TASK_STATE_SUBMITTED", "TASK_STATE_WORKING"}
            for gate in gates:
                gate.set()
            updates = await rest(events)
        assert text_of(now, updates) == "abc"
        assert last_state(updates) == "TASK_STATE_COMPLETED"
        final = (await client.get(task["id"])).task
        assert text_of(final, []) == "abc"


@requirement("1.0/subscribe-task-first", "0.3/resubscribe")
async def test_the_task_is_as_it_is_at_the_time(wire: Wire) -> None:
    gate = anyio.Event()
    turn = [TextDelta("so far"), StepStarted("inference"), gate, DONE]
    async with on_socket(Script(turn), wire) as client, client.streaming("hi") as stream:
        task_id = (await first(stream))["id"]
        for _ in range(3):
            await anext(stream)
        async with client.subscribing(task_id) as events:
            now = await first(events)
            assert text_of(now, []) == "so far"
            assert now["history"][0]["parts"] == [{"text": "hi"}]
            gate.set()
            assert await rest(events) == await rest(stream)


@requirement("1.0/streams-same", "1.0/streams-apart", "1.0/stream-order", "0.3/resubscribe")
async def test_many_hear_the_same_and_one_that_leaves_disturbs_nobody(wire: Wire) -> None:
    gates = [anyio.Event(), anyio.Event()]
    deltas = [TextDelta(str(number)) for number in range(40)]
    turn = [TextDelta("-"), gates[0], *deltas[:20], gates[1], *deltas[20:], DONE]
    heard: list[list[Json]] = []
    async with on_socket(Script(turn), wire) as client:
        task = await started(client)
        ready = anyio.Semaphore(0)

        async def listen() -> None:
            async with client.subscribing(task["id"]) as events:
                now = await first(events)
                ready.release()
                updates = await rest(events)
                assert text_of(now, updates) == "-" + "".join(delta.text for delta in deltas)
                heard.append([u for u in updates if "statusUpdate" in u])

        async with anyio.create_task_group() as listening:
            for _ in range(3):
                listening.start_soon(listen)
            for _ in range(3):
                await ready.acquire()
            async with client.subscribing(task["id"]) as leaving:
                await first(leaving)
                gates[0].set()
                await anext(leaving)
            gates[1].set()
        assert len(heard) == 3
        assert heard[0] == heard[1] == heard[2]
        assert last_state(heard[0]) == "TASK_STATE_COMPLETED"


@requirement("1.0/subscribe-waiting", "1.0/streams-same", "1.0/input-required", "0.3/resubscribe")
async def test_a_waiting_task_may_be_subscribed_to_and_its_going_on_is_heard(wire: Wire) -> None:
    async with on_socket(Script([InputRequired("Which?")], ANSWER), wire) as client:
        task = await client.send_task("hi")
        async with client.subscribing(task["id"]) as one, client.subscribing(task["id"]) as two:
            for events in (one, two):
                assert (await first(events))["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
            await client.send_task("this", taskId=task["id"])
            updates = await rest(one)
            assert updates == await rest(two)
        assert last_state(updates) == "TASK_STATE_COMPLETED"
        artifacts = [u["artifactUpdate"] for u in updates if "artifactUpdate" in u]
        assert artifacts[0]["artifact"]["parts"] == [{"text": "yes"}]


@requirement("1.0/subscribe-ended", "1.0/error-unsupported", "0.3/resubscribe-ended")
async def test_an_ended_task_has_nothing_to_subscribe_to(
    wire: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[wire]
    task = await client.send_task("hi")
    assert (await client.subscribed(task["id"])).code == -32004


@requirement("1.0/subscribe-unknown", "1.0/error-task-not-found", "0.3/resubscribe-unknown")
async def test_a_task_that_is_not_there_has_none_either(
    wire: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[wire]
    assert (await client.subscribed("no-such-task")).code == -32001


@requirement("1.0/stream-apart", "1.0/streams-apart", "0.3/resubscribe")
async def test_who_lost_a_stream_comes_back_by_subscribing(wire: Wire) -> None:
    gate = anyio.Event()
    async with on_socket(Script([TextDelta("a"), gate, TextDelta("b"), DONE]), wire) as client:
        async with client.streaming("hi") as stream:
            task_id = (await first(stream))["id"]
        async with client.subscribing(task_id) as events:
            now = await first(events)
            gate.set()
            updates = await rest(events)
        assert text_of(now, updates) == "ab"


@requirement("1.0/subscribe-replay", "1.0/streams-same", "1.0/stream-order", "0.3/resubscribe")
async def test_a_stream_goes_on_from_any_event(json_wire: Wire) -> None:
    """Without the task, and without gap or duplicate; also when the task has ended since."""
    async with in_process(
        Script([TextDelta(text) for text in "abc"] + [DONE]), json_wire
    ) as client:
        events = await client.streamed("hi")
        task_id = events[0].result["task"]["id"]
        for index, event in enumerate(events[:-1]):
            again = (await client.subscribed(task_id, Last_Event_ID=str(event.seq))).events()
            assert again == [
                other._replace(body=same.body)
                for other, same in zip(events[index + 1 :], again, strict=True)
            ]


@requirement("1.0/subscribe-replay", "0.3/resubscribe")
async def test_a_stream_goes_on_while_events_flow(json_wire: Wire) -> None:
    gates = [anyio.Event(), anyio.Event()]
    turn = [TextDelta("a"), gates[0], TextDelta("b"), gates[1], TextDelta("c"), DONE]
    async with on_socket(Script(turn), json_wire) as client:
        async with client.streaming("hi") as stream:
            task_id = (await first(stream))["id"]
            await anext(stream)
            seq = (await anext(stream)).seq
        gates[0].set()
        async with client.subscribing(task_id, Last_Event_ID=str(seq)) as events:
            second = await anext(events)
            assert second.result["artifactUpdate"]["artifact"]["parts"] == [{"text": "b"}]
            gates[1].set()
            seqs = [second.seq, *[event.seq async for event in events]]
        assert seqs == list(range(seq + 1, seq + 1 + len(seqs)))  # type: ignore[operator] # a task


@requirement("1.0/subscribe-replay", "0.3/resubscribe")
async def test_a_stream_goes_on_after_a_restart(json_wire: Wire, tmp_path: Path) -> None:
    script = Script([TextDelta("a"), InputRequired("Which?")], [TextDelta("b"), DONE])
    state = {"sqlite": {"db_path": tmp_path / "state.db"}}
    async with in_process(script, json_wire, a2a_state=state) as client:
        before = await client.streamed("hi")
        task_id = before[0].result["task"]["id"]
    async with in_process(script, json_wire, a2a_state=state) as client:
        await client.send_task("this", taskId=task_id)
        seq = before[-1].seq
        again = (await client.subscribed(task_id, Last_Event_ID=str(seq))).events()
        assert [event.seq for event in again] == sorted({event.seq for event in again})  # type: ignore[type-var] # a task
        assert again[0].seq > seq  # type: ignore[operator] # a task
        assert text_of({}, [event.result for event in again]) == "b"
        assert last_state([event.result for event in again]) == "TASK_STATE_COMPLETED"


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "1e3", "٣", "9" * 40])
@requirement("1.0/validation", "0.3/validation")
async def test_a_last_event_that_cannot_be_is_refused(
    json_wire: Wire, answering: dict[Wire, Client], last: str
) -> None:
    client = answering[json_wire]
    task = await client.send_task("hi")
    method = json_wire.methods["subscribe"]
    named = client.headers({}) | {"Last-Event-ID": last}
    encoded = {name: value.encode() for name, value in named.items()}
    reply = await client.channel.call(method, {"id": task["id"]}, encoded)  # type: ignore[arg-type] # not ASCII
    assert (reply.code, reply.field) == (-32602, "Last-Event-ID")
