"""One task, seen from every binding: what is made over one is the same over the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.stacks import ArtifactPart, DataPart, FilePart, InputRequired, TextDelta, TextPart
from tests.conformance._requirements import requirement
from tests.conformance._requirements.row import GRPC
from tests.conformance.client import in_process
from tests.conformance.wire_1_0 import GRPC_1_0
from tests.conformance.wires import WIRES
from tests.fakes.scripted_stack import ANSWER, DONE, Script

if TYPE_CHECKING:
    from tests.conformance.wire import Json, Wire

pytestmark = pytest.mark.anyio

RICH = [
    TextDelta("one "),
    TextDelta("two"),
    ArtifactPart(
        (TextPart("a"), DataPart({"rows": [1.5, None, {"b": True}]})), "table", name="Table"
    ),
    ArtifactPart((FilePart("a.png", "image/png", data=b"\x89PNG"),), "image"),
    DONE,
]


def alike(value: Json) -> Json:
    """Forget what differs from one task to another: ids and times."""
    if isinstance(value, list):
        return [alike(item) for item in value]
    if not isinstance(value, dict):
        return value
    own = {"id", "taskId", "contextId", "timestamp"}
    return {name: alike(item) for name, item in value.items() if name not in own}


@requirement("1.0/same-results", "0.3/same-results", "1.0/get-idempotent", "1.0/data-model")
async def test_a_task_is_the_same_wherever_it_is_got(wire: Wire) -> None:
    """Also when it is got again."""
    async with in_process(Script(RICH), GRPC_1_0) as client:
        task = await client.speaking(wire).send_task("hi", metadata={"a": {"b": [1, None]}})
        for other in WIRES:
            speaker = client.speaking(other)
            for _ in range(2):
                assert (await speaker.get(task["id"])).task == task


@requirement(
    "1.0/same-results",
    "0.3/same-results",
    "1.0/stream-order",
    "0.3/artifacts",
    "0.3/objects",
    "1.0/artifact-last",
    "1.0/artifact-id",
)
async def test_a_turn_is_the_same_wherever_it_is_streamed(wire: Wire) -> None:
    async with in_process(Script(RICH), GRPC_1_0) as client:
        expected = alike([event.result for event in await client.streamed("hi")])
        events = await client.speaking(wire).streamed("hi")
        assert alike([event.result for event in events]) == expected


@requirement("1.0/same-results", "0.3/same-results", "1.0/input-required", "0.3/input-required")
async def test_a_task_goes_on_over_another_binding(wire: Wire) -> None:
    async with in_process(Script([InputRequired("Which?")], ANSWER), GRPC_1_0) as client:
        asked = await client.send_task("hi")
        done = await client.speaking(wire).send_task("this", taskId=asked["id"])
        assert done["id"] == asked["id"]
        assert done["status"]["state"] == "TASK_STATE_COMPLETED"


@requirement("1.0/same-results", "1.0/push-get", on=GRPC)
async def test_a_push_configuration_is_the_same_everywhere() -> None:
    push = {"push": {"allow": ("127.0.0.1",)}}
    async with in_process(Script([InputRequired("Which?")]), GRPC_1_0, **push) as client:
        task = await client.send_task("hi")
        config = GRPC_1_0.push_config("http://127.0.0.1:8999/", config_id="mine", bearer="key")
        await client.create_push(task["id"], config)
        told = [
            other.read_push_config(
                (await client.speaking(other).get_push(task["id"], "mine")).result
            )
            for other in WIRES
        ]
        assert all(one == told[0] for one in told)
