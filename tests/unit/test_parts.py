"""A2A parts and the parts of a stack."""

from __future__ import annotations

import pytest

from agent import model, stacks
from agent.errors import InvalidParams
from agent.parts import accepted, read_parts, reference_parts, write_parts

PAIRS = [
    (model.Part(text="hi"), stacks.TextPart("hi")),
    (model.Part(text=""), stacks.TextPart("")),
    (
        model.Part(raw="aGk=", filename="a.txt", media_type="text/plain"),
        stacks.FilePart("a.txt", "text/plain", data=b"hi"),
    ),
    (
        model.Part(url="https://x.org/a.png", media_type="image/png"),
        stacks.FilePart(None, "image/png", uri="https://x.org/a.png"),
    ),
    (
        model.Part(data={"k": [1]}, media_type="application/json"),
        stacks.DataPart({"k": [1]}, "application/json"),
    ),
    (
        model.Part(data=None, media_type="application/json"),
        stacks.DataPart(None, "application/json"),
    ),
]


def read(*parts: model.Part, file_bytes: int = 100) -> tuple[stacks.Part, ...]:
    """Return the parts as a stack takes them."""
    return read_parts(parts, file_bytes=file_bytes)


@pytest.mark.parametrize(("wire", "stack"), PAIRS)
def test_parts_mean_the_same_on_both_sides(wire: model.Part, stack: stacks.Part) -> None:
    assert read(wire) == (stack,)
    assert write_parts([stack]) == [wire]


def test_parts_keep_their_order() -> None:
    assert read(*(wire for wire, _ in PAIRS)) == tuple(stack for _, stack in PAIRS)


def test_what_says_no_type_gets_one() -> None:
    assert read(model.Part(raw="aGk="), model.Part(url="http://x"), model.Part(data=1)) == (
        stacks.FilePart(None, "application/octet-stream", data=b"hi"),
        stacks.FilePart(None, "application/octet-stream", uri="http://x"),
        stacks.DataPart(1, "application/json"),
    )


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        ("", b""),
        ("+/+/", b"\xfb\xff\xbf"),
        ("-_-_", b"\xfb\xff\xbf"),
        ("aGk=", b"hi"),
        ("aGk", b"hi"),
        ("aA==", b"h"),
        ("aA", b"h"),
    ],
)
def test_both_alphabets_of_base64_are_read_with_or_without_padding(raw: str, data: bytes) -> None:
    assert read(model.Part(raw=raw)) == (
        stacks.FilePart(None, "application/octet-stream", data=data),
    )


@pytest.mark.parametrize("raw", ["a", "aaaaa", "aG k=", "aG\nk=", "é", "a=Gk", "*"])
def test_what_is_not_base64_is_refused(raw: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        read(model.Part(text="hi"), model.Part(raw=raw))

    assert (caught.value.field, caught.value.problem) == ("message.parts[1]", "must be base64")


def test_a_file_may_be_as_large_as_the_limit() -> None:
    assert read(model.Part(raw="aGlo"), file_bytes=3)
    with pytest.raises(InvalidParams) as caught:
        read(model.Part(raw="aGlo"), file_bytes=2)

    assert caught.value.problem == "is larger than 2 bytes"


@pytest.mark.parametrize(
    "part",
    [
        model.Part(),
        model.Part(metadata={"k": 1}),
        model.Part(text="a", url="http://x"),
        model.Part(text="", data=None),
        model.Part(raw="", url=""),
    ],
)
def test_a_part_has_exactly_one_content(part: model.Part) -> None:
    with pytest.raises(InvalidParams) as caught:
        read(part)

    assert caught.value.message == (
        "Invalid parameter message.parts[0]: must have exactly one of text, raw, url and data"
    )


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "ftp://x", "x.org/a", "data:,hi"])
def test_only_web_addresses_are_passed_on(url: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        read(model.Part(url=url))

    assert caught.value.problem == "must be an http or https URL"


@pytest.mark.parametrize(
    ("media_type", "modes", "expected"),
    [
        ("text/plain", [], True),
        ("text/plain", ["text/plain"], True),
        ("text/plain; charset=utf-8", ["text/plain"], True),
        ("text/plain", ["TEXT/Plain ; q=0.5"], True),
        ("text/plain", ["image/png", "text/*"], True),
        ("text/plain", ["*/*"], True),
        ("text/plain", ["*"], True),
        ("text/plain", ["text/html"], False),
        ("text/plain", ["text"], True),
        ("text/plain", ["texts/*", "tex"], False),
        ("image/png", ["text/*"], False),
    ],
)
def test_a_media_type_is_accepted_by_name_or_by_pattern(
    media_type: str, modes: list[str], expected: bool
) -> None:
    assert accepted(media_type, modes) is expected


def artifact(name: str, *parts: model.Part) -> model.Artifact:
    return model.Artifact(name, list(parts))


def task(task_id: str, *artifacts: model.Artifact) -> model.Task:
    status = model.TaskStatus(model.TaskState.COMPLETED)
    return model.Task(task_id, "context", status, list(artifacts))


REPORT = task(
    "t1",
    artifact("answer", model.Part(text="forty"), model.Part(text="-two")),
    model.Artifact(
        "files",
        [
            model.Part(data={"n": 42}, media_type="application/vnd.x+json"),
            model.Part(raw="aGk=", filename="a.txt", media_type="text/plain"),
            model.Part(url="https://x.org/b.pdf", filename="b.pdf", media_type="application/pdf"),
        ],
        name="The files",
    ),
)


def test_what_earlier_tasks_made_is_given_under_its_name() -> None:
    """Text in one piece, data and files as they are; a file elsewhere is not fetched, only named."""
    assert reference_parts([REPORT, task("t2", artifact("x", model.Part(text="y")))], 1000) == (
        stacks.TextPart("Task t1, artifact answer:\nforty-two"),
        stacks.TextPart("Task t1, artifact The files:\nFile b.pdf at https://x.org/b.pdf"),
        stacks.DataPart({"n": 42}, "application/vnd.x+json"),
        stacks.FilePart("a.txt", "text/plain", data=b"hi"),
        stacks.TextPart("Task t2, artifact x:\ny"),
    )


def test_tasks_without_artifacts_give_nothing() -> None:
    assert reference_parts([task("t1"), task("t2")], 1000) == ()


def test_what_is_too_large_is_cut_and_named() -> None:
    """Not within a character; what comes after and would fit is left out only when nothing fits."""
    long = task(
        "t1", artifact("a", model.Part(text="ä" * 100)), artifact("b", model.Part(text="z"))
    )

    text, note = reference_parts([long], 40)

    heading = "Task t1, artifact a:\n"
    assert text == stacks.TextPart(heading + "ä" * ((40 - len(heading)) // 2))
    assert note == stacks.TextPart(
        "[More than 40 bytes, so cut off or left out: Task t1, artifact a; Task t1, artifact b]"
    )


def test_a_file_that_is_too_large_leaves_room_for_others() -> None:
    file = model.Part(raw="YWFh" * 50, filename="large")
    done = task("t1", artifact("a", file), artifact("b", model.Part(data=[1])))

    given = reference_parts([done], 60)

    assert [type(part) for part in given] == [
        stacks.TextPart,
        stacks.TextPart,
        stacks.DataPart,
        stacks.TextPart,
    ]
    assert given[-1] == stacks.TextPart(
        "[More than 60 bytes, so cut off or left out: Task t1, artifact a]"
    )


def test_a_note_names_some_of_many() -> None:
    many = task("t", *(artifact(str(n), model.Part(text="x")) for n in range(1000)))

    (note,) = reference_parts([many], 0)

    assert isinstance(note, stacks.TextPart)
    assert note.text.endswith("artifact 9; 990 more]")
