"""What a turn of the stack becomes: the same whether it is sent, streamed or got afterwards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from agent.stacks import (
    ArtifactPart,
    Citation,
    DataPart,
    FilePart,
    StepEnded,
    StepStarted,
    TextDelta,
    TextPart,
    TurnCompleted,
    TurnStarted,
    Usage,
)
from tests.conformance._requirements import requirement
from tests.conformance.answers import ANSWERS, artifacts_of
from tests.conformance.client import in_process
from tests.fakes.scripted_stack import DONE, Script

if TYPE_CHECKING:
    from tests.conformance.wire import Json, Wire

pytestmark = pytest.mark.anyio

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")


@pytest.mark.parametrize(("turn", "expected"), ANSWERS.values(), ids=ANSWERS.keys())
@requirement(
    "1.0/send-latest",
    "1.0/get-state",
    "1.0/artifacts",
    "1.0/data-model",
    "0.3/artifacts",
    "0.3/objects",
    "0.3/get",
)
async def test_an_answer_is_the_same_sent_streamed_and_got(
    rpc: Wire, turn: list[object], expected: list[tuple[str, list[Json]]]
) -> None:
    async with in_process(Script(turn), rpc) as client:
        sent = await client.send_task("hi")
        assert sent["status"]["state"] == "TASK_STATE_COMPLETED"
        assert [(a["artifactId"], a["parts"]) for a in sent.get("artifacts", [])] == expected
        assert (await client.get(sent["id"])).task == sent

        events = await client.streamed("hi")
        assert artifacts_of(events) == sent.get("artifacts", [])
        got = (await client.get(events[0].result["task"]["id"])).task
        assert got.get("artifacts", []) == sent.get("artifacts", [])
        assert got["status"] == events[-1].result["statusUpdate"]["status"]


@pytest.mark.parametrize(("turn", "expected"), ANSWERS.values(), ids=ANSWERS.keys())
@requirement("1.0/stream-updates", "1.0/stream-order", "0.3/stream-chunks", "0.3/stream-final")
async def test_every_artifact_is_complete_before_the_final_status(
    rpc: Wire, turn: list[object], expected: list[tuple[str, list[Json]]]
) -> None:
    async with in_process(Script(turn), rpc) as client:
        results = [event.result for event in await client.streamed("hi")]
        updates = [result["artifactUpdate"] for result in results if "artifactUpdate" in result]
        last = {update["artifact"]["artifactId"]: update.get("lastChunk") for update in updates}
        assert last == dict.fromkeys([artifact_id for artifact_id, _ in expected], True)
        assert results[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"


@requirement("0.3/stream-chunks", "1.0/stream-order")
async def test_each_delta_of_a_text_is_an_append(wire: Wire) -> None:
    deltas = [TextDelta("a"), TextDelta("b"), TextDelta("c")]
    async with in_process(Script([*deltas, DONE]), wire) as client:
        updates = [
            event.result["artifactUpdate"]
            for event in await client.streamed("hi")
            if "artifactUpdate" in event.result
        ]
        assert [
            (u["artifact"]["parts"], u.get("append", False), u.get("lastChunk", False))
            for u in updates
        ] == [
            ([{"text": "a"}], False, False),
            ([{"text": "b"}], True, False),
            ([{"text": "c"}], True, False),
            ([{"text": ""}], True, True),
        ]


@requirement("1.0/stream-updates", "1.0/timestamps")
async def test_steps_are_told_as_working_and_forgotten_in_the_task(wire: Wire) -> None:
    turn = [
        TurnStarted("turn-1"),
        StepStarted("inference"),
        StepStarted("tool_execution", "search", {"query": "a2a"}),
        StepEnded("tool_execution", "search", {"hits": 3}),
        TextDelta("yes"),
        DONE,
    ]
    async with in_process(Script(turn), wire) as client:
        events = await client.streamed("hi")
        updates = [e.result["statusUpdate"] for e in events if "statusUpdate" in e.result]
        *working, _completed = updates
        assert {update["status"]["state"] for update in working} == {"TASK_STATE_WORKING"}
        assert all(TIMESTAMP.fullmatch(update["status"]["timestamp"]) for update in updates)
        assert [u["metadata"]["step"] for u in working if "step" in u.get("metadata", {})] == [
            {"kind": "inference", "state": "started"},
            {
                "kind": "tool_execution",
                "state": "started",
                "name": "search",
                "detail": {"query": "a2a"},
            },
            {"kind": "tool_execution", "state": "ended", "name": "search", "detail": {"hits": 3}},
        ]
        task = (await client.get(events[0].result["task"]["id"])).task
        assert task["metadata"] == {"turn_id": "turn-1", "stop_reason": "end_of_turn"}


SOURCES = [
    Citation("Guide", "https://a.example/guide", "Turn it on.", "doc-1", 0.5),
    StepEnded("tool_execution", "search", {"hits": 3}),
    TextDelta("Turn it on."),
    Citation("FAQ"),
    DONE,
]


@pytest.mark.parametrize("modes", [None, [], ["application/json", "text/plain"], ["*/*"]])
@requirement("1.0/output-modes", "1.0/artifacts", "0.3/output-modes")
async def test_citations_and_tool_results_are_artifacts(rpc: Wire, modes: list[str] | None) -> None:
    async with in_process(Script(SOURCES), rpc) as client:
        task = await client.send_task("hi", configuration=rpc.configuration(modes=modes))
        _answer, citations, results = task["artifacts"]
        assert (citations["artifactId"], citations["name"]) == ("citations", "Citations")
        assert citations["parts"] == [
            {
                "data": {
                    "citations": [
                        {
                            "title": "Guide",
                            "uri": "https://a.example/guide",
                            "text": "Turn it on.",
                            "document_id": "doc-1",
                            "score": 0.5,
                        },
                        {"title": "FAQ"},
                    ]
                }
            }
        ]
        assert results["parts"] == [
            {"data": {"tool_results": [{"tool_name": "search", "result": {"hits": 3}, "round": 1}]}}
        ]


@pytest.mark.parametrize("modes", [["text/plain"], ["text/*"], ["TEXT/PLAIN; charset=utf-8"]])
@requirement("1.0/output-modes", "0.3/output-modes")
async def test_what_the_client_does_not_accept_is_left_out(wire: Wire, modes: list[str]) -> None:
    turn = [
        ArtifactPart((FilePart("a", "image/png", data=b""), TextPart("a")), "mixed"),
        ArtifactPart((DataPart({}),), "table"),
        *SOURCES,
    ]
    async with in_process(Script(turn), wire) as client:
        task = await client.send_task("hi", configuration=wire.configuration(modes=modes))
        assert [(a["artifactId"], a["parts"]) for a in task["artifacts"]] == [
            ("mixed", [{"text": "a"}]),
            ("answer", [{"text": "Turn it on."}]),
        ]
        assert client.script.requests[0].accepted_output_modes == tuple(modes)


@requirement("1.0/output-modes", "0.3/a2a-errors", "1.0/error-content-type")
async def test_a_client_that_takes_no_text_is_refused(wire: Wire) -> None:
    async with in_process(Script([DONE]), wire) as client:
        reply = await client.refused("hi", configuration=wire.configuration(modes=["image/png"]))
        assert reply.code == -32005


@requirement("1.0/metadata")
async def test_usage_is_summed_up_in_the_metadata(wire: Wire) -> None:
    turn = [Usage(10, 2), TextDelta("yes"), Usage(5, 1), DONE]
    async with in_process(Script(turn), wire) as client:
        task = await client.send_task("hi")
        assert task["metadata"] == {
            "stop_reason": "end_of_turn",
            "usage": {"input_tokens": 15, "output_tokens": 3},
        }


@requirement("1.0/get-state")
async def test_an_answer_that_was_cut_off_says_so(wire: Wire) -> None:
    async with in_process(
        Script([TextDelta("ye"), TurnCompleted("out_of_tokens")]), wire
    ) as client:
        task = await client.send_task("hi")
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        assert "cut off" in task["status"]["message"]["parts"][0]["text"]
        assert task["metadata"]["stop_reason"] == "out_of_tokens"
        assert task["artifacts"][0]["parts"] == [{"text": "ye"}]


@requirement("1.0/output-modes", "0.3/output-modes")
@pytest.mark.parametrize("whole", [None, "yes, indeed"])
async def test_a_client_that_takes_json_only_gets_the_answer_as_data(
    wire: Wire, whole: str | None
) -> None:
    """Whole, and nothing before it is complete."""
    turn = [TextDelta("yes, "), TextDelta("in"), TurnCompleted("end_of_turn", whole)]
    async with in_process(Script(turn), wire) as client:
        modes = wire.configuration(modes=["application/json"])
        (answer,) = (await client.send_task("hi", configuration=modes))["artifacts"]
        assert [part["data"] for part in answer["parts"]] == [{"text": whole or "yes, in"}]
