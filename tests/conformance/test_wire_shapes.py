"""Every answer to the last field, as it is on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.stacks import (
    ArtifactPart,
    DataPart,
    DirectMessage,
    FilePart,
    InputRequired,
    TextDelta,
    TextPart,
    TurnCompleted,
)
from tests.conformance._requirements import requirement
from tests.conformance._requirements.row import JSON_RPC
from tests.conformance.client import call, in_process
from tests.conformance.wire_0_3 import V0_3
from tests.conformance.wire_1_0 import V1_0
from tests.fakes.scripted_stack import Script

if TYPE_CHECKING:
    from tests.conformance.wire import Json

pytestmark = pytest.mark.anyio

BINDING = JSON_RPC

ANSWER = [
    TextDelta("yes"),
    ArtifactPart(
        (FilePart("a.png", "image/png", data=b"\x89PNG"), DataPart([1])), "more", name="More"
    ),
    TurnCompleted("end_of_turn"),
]
HELLO = [DirectMessage((TextPart("hello"),))]
QUESTION = [InputRequired("Which city?", {"tool_calls": []})]


def without_times(value: Json) -> Json:
    """Leave out what is different each time: times, and the ids of the agent's messages."""
    if isinstance(value, list):
        return [without_times(item) for item in value]
    if not isinstance(value, dict):
        return value
    is_agents = value.get("role") in {"agent", "ROLE_AGENT"}
    return {
        key: without_times(item)
        for key, item in value.items()
        if key != "timestamp" and not (is_agents and key == "messageId")
    }


@requirement(
    "1.0/send-answer",
    "1.0/data-model",
    "1.0/enums",
    "1.0/camel-case",
    "1.0/method-names",
    on=JSON_RPC,
)
async def test_a_task_in_1_0() -> None:
    async with in_process(Script(ANSWER), V1_0) as client:
        params = client.params(V1_0.text("hi") | {"metadata": {"a": 1}}, metadata={"b": [None]})
        sent = await client.post(call("SendMessage", params))
        task = sent.result["task"]
        assert without_times(sent.result) == {
            "task": {
                "id": task["id"],
                "contextId": task["contextId"],
                "status": {"state": "TASK_STATE_COMPLETED"},
                "artifacts": [
                    {"artifactId": "answer", "parts": [{"text": "yes"}]},
                    {
                        "artifactId": "more",
                        "name": "More",
                        "parts": [
                            {"raw": "iVBORw==", "filename": "a.png", "mediaType": "image/png"},
                            {"data": [1], "mediaType": "application/json"},
                        ],
                    },
                ],
                "history": [
                    {
                        "messageId": "message-1",
                        "role": "ROLE_USER",
                        "parts": [{"text": "hi", "metadata": {"a": 1}}],
                        "contextId": task["contextId"],
                        "taskId": task["id"],
                        "metadata": {"b": [None]},
                    }
                ],
                "metadata": {"stop_reason": "end_of_turn"},
            }
        }
        assert (await client.post(call("GetTask", {"id": task["id"]}))).result == task


@requirement("0.3/send", "0.3/objects", "0.3/methods", "0.3/get", "0.3/parts", "0.3/file")
async def test_a_task_in_0_3() -> None:
    async with in_process(Script(ANSWER), V0_3) as client:
        params = client.params(V0_3.text("hi") | {"metadata": {"a": 1}}, metadata={"b": [None]})
        task = (await client.post(call("message/send", params))).result
        assert without_times(task) == {
            "kind": "task",
            "id": task["id"],
            "contextId": task["contextId"],
            "status": {"state": "completed"},
            "artifacts": [
                {"artifactId": "answer", "parts": [{"kind": "text", "text": "yes"}]},
                {
                    "artifactId": "more",
                    "name": "More",
                    "parts": [
                        {
                            "kind": "file",
                            "file": {"name": "a.png", "mimeType": "image/png", "bytes": "iVBORw=="},
                        },
                        {"kind": "data", "data": {"value": [1]}},
                    ],
                },
            ],
            "history": [
                {
                    "kind": "message",
                    "messageId": "message-1",
                    "role": "user",
                    "parts": [{"kind": "text", "text": "hi", "metadata": {"a": 1}}],
                    "contextId": task["contextId"],
                    "taskId": task["id"],
                    "metadata": {"b": [None]},
                }
            ],
            "metadata": {"stop_reason": "end_of_turn"},
        }
        assert (await client.post(call("tasks/get", {"id": task["id"]}))).result == task


@requirement(
    "1.0/rpc-stream-data",
    "1.0/stream-task-first",
    "1.0/stream-updates",
    "1.0/rpc-stream",
    on=JSON_RPC,
)
async def test_a_stream_in_1_0() -> None:
    async with in_process(Script([TextDelta("yes"), TurnCompleted("end_of_turn")])) as client:
        reply = await client.post(call("SendStreamingMessage", client.params("hi"), "call-1"))
        assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
        bodies = [event.body for event in reply.events()]
        task = bodies[0]["result"]["task"]
        ids = {"taskId": task["id"], "contextId": task["contextId"]}
        message = client.message("hi") | ids
        results = [
            {
                "task": {
                    "id": task["id"],
                    "contextId": task["contextId"],
                    "status": {"state": "TASK_STATE_SUBMITTED"},
                    "history": [message],
                }
            },
            {"statusUpdate": ids | {"status": {"state": "TASK_STATE_WORKING"}}},
            {
                "artifactUpdate": ids
                | {"artifact": {"artifactId": "answer", "parts": [{"text": "yes"}]}}
            },
            {
                "artifactUpdate": ids
                | {
                    "artifact": {"artifactId": "answer", "parts": [{"text": ""}]},
                    "append": True,
                    "lastChunk": True,
                }
            },
            {
                "statusUpdate": ids
                | {
                    "status": {"state": "TASK_STATE_COMPLETED"},
                    "metadata": {"stop_reason": "end_of_turn"},
                }
            },
        ]
        assert [without_times(body) for body in bodies] == [
            {"jsonrpc": "2.0", "id": "call-1", "result": result} for result in results
        ]
        assert [event.seq for event in reply.events()] == [1, 2, 3, 4, 5]


@requirement("0.3/stream-data", "0.3/stream-final", "0.3/stream-chunks", "0.3/stream-sse")
async def test_a_stream_in_0_3() -> None:
    async with in_process(Script([TextDelta("yes"), TurnCompleted("end_of_turn")]), V0_3) as client:
        reply = await client.post(call("message/stream", client.params("hi"), "call-1"))
        assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
        bodies = [event.body for event in reply.events()]
        task = bodies[0]["result"]
        ids = {"taskId": task["id"], "contextId": task["contextId"]}
        message = client.message("hi") | ids
        chunk = {"artifactId": "answer", "parts": [{"kind": "text", "text": "yes"}]}
        end = {"artifactId": "answer", "parts": [{"kind": "text", "text": ""}]}
        results = [
            {
                "kind": "task",
                "id": task["id"],
                "contextId": task["contextId"],
                "status": {"state": "submitted"},
                "history": [message],
            },
            {"kind": "status-update", "status": {"state": "working"}, "final": False} | ids,
            {"kind": "artifact-update", "artifact": chunk} | ids,
            {"kind": "artifact-update", "artifact": end, "append": True, "lastChunk": True} | ids,
            {
                "kind": "status-update",
                "status": {"state": "completed"},
                "final": True,
                "metadata": {"stop_reason": "end_of_turn"},
            }
            | ids,
        ]
        assert [without_times(body) for body in bodies] == [
            {"jsonrpc": "2.0", "id": "call-1", "result": result} for result in results
        ]
        assert [event.seq for event in reply.events()] == [1, 2, 3, 4, 5]


@requirement("1.0/send-answer", "1.0/stream-message", "1.0/data-model")
async def test_a_message_in_1_0() -> None:
    async with in_process(Script(HELLO), V1_0) as client:
        expected = {
            "message": {"role": "ROLE_AGENT", "parts": [{"text": "hello"}], "contextId": "c"}
        }
        params = client.params("hi", contextId="c")
        assert without_times((await client.post(call("SendMessage", params))).result) == expected
        (event,) = (await client.post(call("SendStreamingMessage", params))).events()
        assert without_times(event.body["result"]) == expected


@requirement("0.3/send", "0.3/stream-message", "0.3/objects")
async def test_a_message_in_0_3() -> None:
    async with in_process(Script(HELLO), V0_3) as client:
        expected = {
            "kind": "message",
            "role": "agent",
            "parts": [{"kind": "text", "text": "hello"}],
            "contextId": "c",
        }
        params = client.params("hi", contextId="c")
        assert without_times((await client.post(call("message/send", params))).result) == expected
        (event,) = (await client.post(call("message/stream", params))).events()
        assert without_times(event.body["result"]) == expected


@requirement("1.0/input-required", "1.0/data-model", "1.0/enums")
async def test_a_question_in_1_0() -> None:
    async with in_process(Script(QUESTION), V1_0) as client:
        result = (await client.post(call("SendMessage", client.params("hi")))).result["task"]
        assert without_times(result["status"]) == {
            "state": "TASK_STATE_INPUT_REQUIRED",
            "message": {
                "role": "ROLE_AGENT",
                "parts": [
                    {"text": "Which city?"},
                    {"data": {"tool_calls": []}, "mediaType": "application/json"},
                ],
                "contextId": result["contextId"],
                "taskId": result["id"],
            },
        }


@requirement("0.3/input-required", "0.3/objects")
async def test_a_question_in_0_3() -> None:
    async with in_process(Script(QUESTION), V0_3) as client:
        result = (await client.post(call("message/send", client.params("hi")))).result
        assert without_times(result["status"]) == {
            "state": "input-required",
            "message": {
                "kind": "message",
                "role": "agent",
                "parts": [
                    {"kind": "text", "text": "Which city?"},
                    {"kind": "data", "data": {"tool_calls": []}},
                ],
                "contextId": result["contextId"],
                "taskId": result["id"],
            },
        }
