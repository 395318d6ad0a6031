"""Tasks that wait for the user, and the messages that they go on with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from agent.stacks import (
    Answer,
    ArtifactPart,
    AuthRequired,
    DirectMessage,
    InputRequired,
    Resume,
    TextDelta,
    TextPart,
    TurnStarted,
)
from tests.conformance._requirements import requirement
from tests.conformance.client import in_process, on_socket
from tests.fakes.scripted_stack import DONE, Script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.wire import Json, Wire

pytestmark = pytest.mark.anyio

CALLS = {
    "tool_calls": [{"call_id": "call-1", "tool_name": "weather", "arguments": {}}],
    "approvals": [{"call_id": "approval-1", "tool_name": "pay"}],
}
QUESTION = [TurnStarted("turn-1"), TextDelta("Well. "), InputRequired("Which city?", CALLS)]
REPLY = [TurnStarted("turn-2"), TextDelta("Sunny."), DONE]


@requirement("1.0/input-required", "0.3/input-required", "1.0/history", "1.0/context-inferred")
async def test_a_message_with_the_task_id_goes_on_with_the_task(wire: Wire) -> None:
    """The context is the task's; the question becomes history."""
    async with in_process(Script(QUESTION, REPLY), wire) as client:
        asked = await client.send_task("Weather?")
        assert asked["status"]["message"]["parts"] == [{"text": "Which city?"}, {"data": CALLS}]
        done = await client.send_task("Zürich", messageId="message-2", taskId=asked["id"])
        assert (done["id"], done["contextId"]) == (asked["id"], asked["contextId"])
        assert done["status"]["state"] == "TASK_STATE_COMPLETED"
        assert "message" not in done["status"]
        assert [message["parts"][0]["text"] for message in done["history"]] == [
            "Weather?",
            "Which city?",
            "Zürich",
        ]
        assert {(m["taskId"], m["contextId"]) for m in done["history"]} == {
            (asked["id"], asked["contextId"])
        }
        assert (await client.get(asked["id"])).task == done
        first, second = client.script.requests
        assert second.conversation_id == first.conversation_id
        assert (first.resume, second.parts) == (None, (TextPart("Zürich"),))
        assert second.resume == Resume(
            "turn-1",
            (
                Answer("call-1", "Zürich", "weather"),
                Answer("approval-1", "Zürich", approve=False),
            ),
        )


@requirement("1.0/context-new-task")
async def test_a_message_with_the_context_id_alone_goes_on_with_the_one_that_waits(
    wire: Wire,
) -> None:
    async with in_process(Script(QUESTION, REPLY, REPLY), wire) as client:
        asked = await client.send_task("Weather?")
        done = await client.send_task("Zürich", contextId=asked["contextId"])
        assert done["id"] == asked["id"]
        another = await client.send_task("Thanks", contextId=asked["contextId"])
        assert another["id"] != asked["id"]
        assert client.script.requests[2].resume is None


@requirement("1.0/context-new-task")
async def test_of_two_waiting_tasks_of_a_context_neither_is_guessed(wire: Wire) -> None:
    """A message without taskId is then a new task."""
    gate = anyio.Event()
    both = Script([gate, *QUESTION], [gate, *QUESTION], REPLY, REPLY)
    async with on_socket(both, wire) as client:
        asked: list[Json] = []

        async def ask() -> None:
            asked.append(await client.send_task("Weather?", contextId="context-1"))

        async with anyio.create_task_group() as asking:
            asking.start_soon(ask)
            asking.start_soon(ask)
            while len(both.requests) < 2:
                await client.get("any")
            gate.set()
        assert len({task["id"] for task in asked}) == 2
        new = await client.send_task("Zürich", contextId="context-1")
        assert new["id"] not in {task["id"] for task in asked}
        done = await client.send_task("Zürich", taskId=asked[0]["id"])
        assert done["id"] == asked[0]["id"]


@requirement("1.0/input-required", "0.3/input-required")
async def test_a_waiting_task_goes_on_after_a_restart(wire: Wire, tmp_path: Path) -> None:
    script = Script(QUESTION, REPLY)
    state = {"sqlite": {"db_path": tmp_path / "state.db"}}
    async with in_process(script, wire, a2a_state=state) as client:
        asked = await client.send_task("Weather?")
    async with in_process(script, wire, a2a_state=state) as client:
        assert (await client.get(asked["id"])).task == asked
        done = await client.send_task("Zürich", taskId=asked["id"])
        assert done["status"]["state"] == "TASK_STATE_COMPLETED"
        first, second = script.requests
        assert second.conversation_id == first.conversation_id
        assert second.resume is not None
        assert second.resume.turn_id == "turn-1"


@requirement("1.0/input-required", "0.3/input-required", "1.0/send-latest")
async def test_a_task_may_ask_again_and_again(wire: Wire) -> None:
    async with in_process(Script(QUESTION, QUESTION, REPLY), wire) as client:
        task = await client.send_task("Weather?")
        for _ in range(2):
            task = await client.send_task("Zürich", taskId=task["id"])
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        assert len(task["history"]) == 5
        answers = {one["artifactId"]: one["parts"] for one in task["artifacts"]}
        assert answers == {
            "answer": [{"text": "Well. "}],
            "answer-2": [{"text": "Well. "}],
            "answer-3": [{"text": "Sunny."}],
        }


@requirement("1.0/send-latest")
async def test_artifacts_of_before_the_question_are_kept(wire: Wire) -> None:
    made = ArtifactPart((TextPart("a draft"),), "draft")
    async with in_process(Script([made, InputRequired("Good?")], REPLY), wire) as client:
        asked = await client.send_task("Write")
        done = await client.send_task("Yes", taskId=asked["id"])
        assert [artifact["artifactId"] for artifact in done["artifacts"]] == ["draft", "answer"]


@requirement("1.0/auth-required", "1.0/auth-messages", "0.3/auth-required")
async def test_missing_credentials_are_explained_and_the_task_takes_messages(wire: Wire) -> None:
    login = AuthRequired("Log in at the bank.", {"url": "https://bank.example"})
    async with in_process(Script([login], REPLY), wire) as client:
        asked = await client.send_task("Pay")
        assert asked["status"]["state"] == "TASK_STATE_AUTH_REQUIRED"
        assert asked["status"]["message"]["parts"] == [
            {"text": "Log in at the bank."},
            {"data": {"url": "https://bank.example"}},
        ]
        done = await client.send_task("I did", taskId=asked["id"])
        assert done["status"]["state"] == "TASK_STATE_COMPLETED"
        assert client.script.requests[1].resume == Resume("", ())


APPROVALS: list[tuple[Any, bool]] = [
    ("yes", True),
    (" Approve ", True),
    ("no", False),
    ("yes, but later", False),
    ({"call_id": "approval-1", "approve": True}, True),
    ({"call_id": "approval-1", "approve": "yes"}, True),
    ({"approve": True}, True),
    ({"call_id": "approval-1", "approve": False}, False),
    ({"call_id": "approval-1", "approve": "false"}, False),
    ({"call_id": "approval-1", "approve": 1}, False),
    ({"call_id": "approval-1", "approve": {}}, False),
    ({"call_id": ["approval-1"], "approve": False}, False),
    ({"call_id": "another", "approve": True}, False),
    ({"answers": [{"call_id": "approval-1", "approve": True}]}, True),
    ({"answers": "yes"}, False),
    ({}, False),
]


@pytest.mark.parametrize(("said", "approve"), APPROVALS)
@requirement("1.0/input-required", "1.0/validation")
async def test_only_a_clear_yes_approves(rpc: Wire, said: Any, approve: bool) -> None:
    async with in_process(Script(QUESTION, REPLY), rpc) as client:
        asked = await client.send_task("Pay")
        part = said if isinstance(said, str) else rpc.data(said)
        await client.send_task(part, taskId=asked["id"])
        resume = client.script.requests[1].resume
        assert resume is not None
        assert resume.answers[1].approve is approve


@requirement("1.0/input-required")
async def test_calls_are_answered_each_by_its_id(wire: Wire) -> None:
    async with in_process(Script(QUESTION, REPLY), wire) as client:
        asked = await client.send_task("Weather?")
        answers = [
            {"call_id": "approval-1", "approve": True, "reason": "cheap"},
            {"call_id": "call-1", "content": {"degrees": 21}},
        ]
        await client.send_task(wire.data({"answers": answers}), taskId=asked["id"])
        resume = client.script.requests[1].resume
        assert resume is not None
        assert resume.answers == (
            Answer("call-1", '{"degrees":21}', "weather"),
            Answer("approval-1", "cheap", approve=True),
        )


@pytest.mark.parametrize(
    "data",
    [
        None,
        "text",
        [1],
        {"tool_calls": None},
        {"tool_calls": [1, {}, {"call_id": 1}]},
        {"form": {}},
    ],
)
@requirement("1.0/input-required")
async def test_a_stack_may_ask_for_anything(rpc: Wire, data: Json) -> None:
    async with in_process(Script([InputRequired("Fill in.", data)], REPLY), rpc) as client:
        asked = await client.send_task("hi")
        done = await client.send_task("done", taskId=asked["id"])
        assert done["status"]["state"] == "TASK_STATE_COMPLETED"
        assert client.script.requests[1].resume == Resume("", ())


@requirement("1.0/context-mismatch", "0.3/validation")
async def test_a_context_that_is_not_the_tasks_is_refused(wire: Wire) -> None:
    async with in_process(Script(QUESTION, REPLY), wire) as client:
        asked = await client.send_task("Weather?")
        reply = await client.refused("Zürich", taskId=asked["id"], contextId="another")
        assert (reply.code, reply.field) == (-32602, "message.contextId")
        same = {"taskId": asked["id"], "contextId": asked["contextId"]}
        assert (await client.send_task("Zürich", **same))["id"] == asked["id"]


@requirement("1.0/agent-message", "1.0/artifact-id", "1.0/context-kept", "0.3/objects")
async def test_what_the_agent_says_belongs_to_the_context(wire: Wire) -> None:
    """Every artifact has an id of its own."""
    hello = [DirectMessage((TextPart("hello"),))]
    async with in_process(Script(hello, QUESTION, REPLY), wire) as client:
        assert (await client.send("hi", contextId="context-1"))["message"][
            "contextId"
        ] == "context-1"
        asked = await client.send_task("Weather?", contextId="context-1")
        assert asked["status"]["message"]["contextId"] == "context-1"
        assert asked["status"]["message"]["messageId"]
        done = await client.send_task("Zürich", taskId=asked["id"])
        assert {message["contextId"] for message in done["history"]} == {"context-1"}
        ids = [artifact["artifactId"] for artifact in done["artifacts"]]
        assert len(ids) == len(set(ids)) == 2
