"""The life of tasks on every database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import make_url

from agent.stacks import InputRequired, TextDelta, TurnStarted
from tests.conformance.client import in_process
from tests.conformance.wire_1_0 import V1_0
from tests.fakes.scripted_stack import ANSWER, DONE, Script

if TYPE_CHECKING:
    from tests.conformance.wire import Json

pytestmark = pytest.mark.anyio

ODD = "NUL \0, a bell \a, half a line\r, 東京 🚀, \u202e and a quote ' \" \\"


@pytest.fixture
def state(database_url: str) -> Json:
    """Return the settings of an empty database."""
    url = make_url(database_url)
    if url.get_backend_name() == "postgresql":
        return {
            "postgres": {
                "host": url.query.get("host") or url.host,
                "port": url.port or 5432,
                "db": url.database,
                "user": url.username,
                "password": url.password or "none",
                "ssl_mode": "disable",
            }
        }
    return {"sqlite": {"db_path": url.database}} if url.database else {"memory": True}


async def test_a_task_goes_on_where_it_was(state: Json) -> None:
    question = [TurnStarted("turn-1"), TextDelta("Well. "), InputRequired("Which?", {"a": [ODD]})]
    async with in_process(Script(question, ANSWER), a2a_state=state) as client:
        asked = await client.send_task(ODD, V1_0.data({ODD: ODD}), metadata={"b": ODD})
        assert asked["history"][0]["parts"][0] == {"text": ODD}
        assert (await client.get(asked["id"])).task == asked
        events = await client.streamed("this", taskId=asked["id"])
        assert events[0].seq == 6
        task = (await client.get(asked["id"])).task
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        assert (await client.refused("more", taskId=asked["id"])).code == -32004


async def test_odd_ids_are_refused_or_not_found_alike(state: Json) -> None:
    async with in_process(Script(ANSWER), a2a_state=state) as client:
        for task_id in ("nowhere", "%", "'", "🚀", "\\"):
            assert (await client.get(task_id)).code == -32001
            assert (await client.refused("hi", taskId=task_id)).code == -32001
            task = await client.send_task("hi", contextId=task_id)
            assert task["contextId"] == task_id
        for task_id in ("a\0", "\x7f", "\n"):
            assert (await client.get(task_id)).code == -32602


async def test_many_messages_at_once_are_all_answered(state: Json) -> None:
    tasks: list[Json] = []
    script = Script(ANSWER)
    async with in_process(script, a2a_state=state) as client:

        async def send(context: dict[str, Any]) -> None:
            tasks.append(await client.send_task("hi", **context))

        async with anyio.create_task_group() as sending:
            for number in range(60):
                context = {"contextId": f"context-{number % 5}"} if number % 2 else {}
                sending.start_soon(send, context)
        assert len({task["id"] for task in tasks}) == 60
        assert {task["status"]["state"] for task in tasks} == {"TASK_STATE_COMPLETED"}
        assert len(script.owners) == 30 + 5
        for task in tasks:
            assert (await client.get(task["id"])).task == task


async def test_many_messages_to_one_waiting_task_resume_it_once(state: Json) -> None:
    """The others wait, and then it has ended."""
    gate = anyio.Event()
    script = Script([InputRequired("Which?")], [gate, TextDelta("a"), DONE], ANSWER)
    codes: list[Json] = []
    async with in_process(script, a2a_state=state) as client:
        asked = await client.send_task("hi")

        async def go_on() -> None:
            params = client.params("this", taskId=asked["id"])
            body = json.loads((await client.call(V1_0.send, params)).text)
            codes.append(body["error"]["code"] if "error" in body else "done")

        async with anyio.create_task_group() as sending:
            for _ in range(8):
                sending.start_soon(go_on)
            gate.set()
        assert sorted(map(str, codes)) == ["-32004"] * 7 + ["done"]
        assert len(script.requests) == 2
        task = (await client.get(asked["id"])).task
        assert [message["parts"][0]["text"] for message in task["history"]] == [
            "hi",
            "Which?",
            "this",
        ]
