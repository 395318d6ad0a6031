"""Tasks that a message refers to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.stacks import TextDelta, TextPart
from tests.conformance._requirements import requirement
from tests.conformance.client import in_process
from tests.fakes.scripted_stack import ANSWER, DONE, Script

if TYPE_CHECKING:
    from tests.conformance.client import Client
    from tests.conformance.wire import Wire

pytestmark = pytest.mark.anyio


@requirement("1.0/reference-tasks", "0.3/references")
async def test_the_stack_gets_the_artifacts_of_referenced_tasks(wire: Wire) -> None:
    """Beside the message, which is in the history as it was sent."""
    script = Script([TextDelta("a haiku about autumn"), DONE], ANSWER)
    async with in_process(script, wire) as client:
        earlier = await client.send_task("Write.")
        task = await client.send_task("Shorter!", referenceTaskIds=[earlier["id"]])
        parts = script.requests[1].parts
        assert parts[-1] == TextPart("Shorter!")
        told = " ".join(part.text for part in parts if isinstance(part, TextPart))
        assert "a haiku about autumn" in told
        (message,) = task["history"]
        assert message["referenceTaskIds"] == [earlier["id"]]
        assert message["parts"] == [{"text": "Shorter!"}]


@requirement("1.0/reference-tasks", "0.3/references", "1.0/error-task-not-found")
async def test_a_reference_to_what_is_not_there_is_refused(
    wire: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[wire]
    assert (await client.refused("hi", referenceTaskIds=["nowhere"])).code == -32001
    assert client.script.requests == []


@requirement("1.0/reference-tasks", "1.0/not-yours", "1.0/indistinguishable")
async def test_a_reference_to_anothers_task_is_none(latest: Wire) -> None:
    async with in_process(Script(ANSWER), latest, a2a={"tenants": ("red",)}) as client:
        params = client.params("hi") | {"tenant": "red"}
        hers = (await client.call(latest.send, params)).sent["task"]
        refused = await client.refused("hi", referenceTaskIds=[hers["id"]])
        nowhere = await client.refused("hi", referenceTaskIds=["nowhere"])
        assert refused.error == nowhere.error
