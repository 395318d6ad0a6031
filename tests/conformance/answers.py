"""Turns of a stack, and the artifacts that they are to become."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.stacks import ArtifactPart, DataPart, FilePart, TextDelta, TextPart, TurnCompleted
from tests.fakes.scripted_stack import DONE

if TYPE_CHECKING:
    from tests.conformance.client import Event
    from tests.conformance.wire import Json

# A whole answer, and what its artifacts are in the end.
ANSWERS = {
    "nothing": ([DONE], []),
    "an empty text": ([TurnCompleted("end_of_turn", text="")], []),
    "one delta": ([TextDelta("yes"), DONE], [("answer", [{"text": "yes"}])]),
    "several deltas": (
        [TextDelta("one "), TextDelta(""), TextDelta("two"), DONE],
        [("answer", [{"text": "one two"}])],
    ),
    "a text that is not streamed": (
        [TurnCompleted("end_of_turn", text="all at once")],
        [("answer", [{"text": "all at once"}])],
    ),
    "a text that was streamed": (
        [TextDelta("ye"), TextDelta("s"), TurnCompleted("end_of_turn", text="yes")],
        [("answer", [{"text": "yes"}])],
    ),
    "a text that goes on": (
        [TextDelta("ye"), TurnCompleted("end_of_turn", text="yes")],
        [("answer", [{"text": "yes"}])],
    ),
    "a text that is corrected": (
        [TextDelta("my card is 4111"), TurnCompleted("end_of_turn", text="my card is ****")],
        [("answer", [{"text": "my card is ****"}])],
    ),
    "a text that is taken back": (
        [TextDelta("psst"), TurnCompleted("end_of_turn", text="")],
        [("answer", [{"text": ""}])],
    ),
    "two texts": (
        [TextDelta("a", "notes"), TextDelta("1"), TextDelta("b", "notes"), TextDelta("2"), DONE],
        [("notes", [{"text": "ab"}]), ("answer", [{"text": "12"}])],
    ),
    "files and data": (
        [
            ArtifactPart(
                (FilePart("a.png", "image/png", data=b"\x89PNG"), TextPart("a")), "image", "A"
            ),
            ArtifactPart((FilePart("b.pdf", "application/pdf", uri="https://a.example/b"),), "b"),
            ArtifactPart((DataPart({"rows": [1, 2]}),), "table", last=False),
            ArtifactPart((DataPart({"rows": [3]}),), "table", append=True),
            DONE,
        ],
        [
            (
                "image",
                [
                    {"raw": "iVBORw==", "filename": "a.png", "mediaType": "image/png"},
                    {"text": "a"},
                ],
            ),
            (
                "b",
                [
                    {
                        "url": "https://a.example/b",
                        "filename": "b.pdf",
                        "mediaType": "application/pdf",
                    }
                ],
            ),
            ("table", [{"data": {"rows": [1, 2]}}, {"data": {"rows": [3]}}]),
        ],
    ),
    "an artifact that is replaced": (
        [ArtifactPart((TextPart("1"),), "a"), ArtifactPart((TextPart("2"),), "a"), DONE],
        [("a", [{"text": "2"}])],
    ),
    "an artifact that is begun by appending": (
        [ArtifactPart((TextPart("1"),), "a", append=True), DONE],
        [("a", [{"text": "1"}])],
    ),
}


def artifacts_of(events: list[Event]) -> list[Json]:
    """Put artifacts together from their updates, as a client must."""
    artifacts: dict[str, Json] = {}
    for event in events:
        update = event.result.get("artifactUpdate")
        if update is None:
            continue
        artifact = update["artifact"]
        known = artifacts.get(artifact["artifactId"])
        if update.get("append"):
            assert known is not None
            known["parts"] += artifact["parts"]
        else:
            artifacts[artifact["artifactId"]] = artifact
    return [artifact | {"parts": joined(artifact["parts"])} for artifact in artifacts.values()]


def joined(parts: list[Json]) -> list[Json]:
    """Join texts that follow each other."""
    whole: list[Json] = []
    for part in parts:
        if whole and "text" in part and "text" in whole[-1]:
            whole[-1] = {"text": whole[-1]["text"] + part["text"]}
        else:
            whole.append(part)
    return whole
