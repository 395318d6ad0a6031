"""What the commands print of events: each thing once, text apart from the rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from a2a.types import StreamResponse
from google.protobuf.json_format import ParseDict

from agent.cli.printer import Printer

if TYPE_CHECKING:
    import pytest

    type Printed = tuple[str, str]


def printed(capsys: pytest.CaptureFixture[str], *events: dict[str, Any]) -> Printed:
    """Show events, and return what went to standard output and to standard error."""
    printer = Printer(as_json=False)
    for event in events:
        printer.show(ParseDict(event, StreamResponse()))
    captured = capsys.readouterr()
    return captured.out, captured.err


def piece(text: str, *, append: bool) -> dict[str, Any]:
    """Return an artifact update with text."""
    artifact = {"artifactId": "answer", "parts": [{"text": text}]}
    return {"artifactUpdate": {"taskId": "t", "artifact": artifact, "append": append}}


def task(text: str, *others: dict[str, Any], said: str = "") -> dict[str, Any]:
    """Return a task whose answer is ``text``, with other parts; its status says ``said``."""
    message = {"messageId": f"m-{said}", "role": "ROLE_AGENT", "parts": [{"text": said}]}
    parts = [{"text": text}, *others]
    return {
        "task": {
            "id": "t",
            "contextId": "c",
            "status": {"state": "TASK_STATE_WORKING"} | ({"message": message} if said else {}),
            "artifacts": [{"artifactId": "answer", "parts": parts}],
        }
    }


FILE = {"url": "https://a.example/f", "filename": "f.txt"}
DATA = {"data": {"n": 1}}


def test_pieces_are_printed_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    """And a task that has them all adds nothing."""
    events = [piece("a", append=False), piece("b", append=True), task("ab")]

    assert printed(capsys, *events) == ("ab", "")


def test_of_a_task_that_comes_again_the_news_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What was missed while the connection was broken."""
    assert printed(capsys, piece("a", append=False), task("abc"), piece("d", append=True)) == (
        "abcd",
        "",
    )


def test_an_answer_that_is_replaced_begins_on_a_new_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A task that runs again may answer otherwise."""
    assert printed(capsys, piece("abc", append=False), piece("x", append=False)) == ("abc\nx", "")


def test_files_and_data_are_told_once_and_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, so that the answer can be piped."""
    out, err = printed(capsys, task("a", FILE), task("a", FILE, DATA))

    assert out == "a"
    assert err.split("\n", 2)[1] == "[file f.txt]"
    assert json.loads(err.split("\n", 2)[2]) == {"n": 1}


def test_what_the_agent_says_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The message of a status, by its id."""
    events = [task("", said="Which?"), task("", said="Which?"), task("", said="This?")]

    assert printed(capsys, *events) == ("Which?This?", "")


def test_as_json_every_event_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing else is printed."""
    printer = Printer(as_json=True)
    for event in (piece("a", append=False), task("a", FILE)):
        printer.show(ParseDict(event, StreamResponse()))
    printer.end()

    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [next(iter(line)) for line in lines] == ["artifactUpdate", "task"]
    assert captured.err == ""
    assert (printer.state, printer.shown) == ("WORKING", 2)
