"""Webhooks hear of changes of state and of whole artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent.model import (
    Artifact,
    ArtifactUpdate,
    Message,
    Part,
    Role,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
)
from agent.push.news import News

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.model import Event

WORKING, COMPLETED, FAILED = TaskState.WORKING, TaskState.COMPLETED, TaskState.FAILED


def task(state: TaskState = TaskState.SUBMITTED) -> Task:
    return Task("t", "c", TaskStatus(state))


def status(state: TaskState, text: str = "", **metadata: Any) -> StatusUpdate:
    message = Message("m", Role.AGENT, [Part(text=text)]) if text else None
    return StatusUpdate("t", "c", TaskStatus(state, message), metadata or None)


def piece(text: str, *, append: bool = True, last: bool = False, name: str = "a") -> ArtifactUpdate:
    return ArtifactUpdate("t", "c", Artifact(name, [Part(text=text)]), append, last)


def sent(events: Sequence[Event]) -> list[Event]:
    news = News()
    return [each for event in events if (each := news.apply(event)) is not None]


def test_the_task_and_its_changes_of_state_are_sent() -> None:
    events: list[Event] = [task(), status(WORKING), status(COMPLETED)]

    assert sent(events) == events


def test_steps_of_a_turn_are_not_sent() -> None:
    events: list[Event] = [
        task(WORKING),
        status(WORKING, step={"kind": "inference"}),
        status(COMPLETED),
    ]

    assert sent(events) == [events[0], events[2]]


def test_a_status_with_a_message_is_sent() -> None:
    events: list[Event] = [task(WORKING), status(WORKING, "Still at it.")]

    assert sent(events) == events


def test_an_artifact_is_sent_whole_with_its_last_piece() -> None:
    events: list[Event] = [
        task(WORKING),
        piece("SQL", append=False),
        piece("i"),
        piece("te", last=True),
        status(COMPLETED),
    ]

    assert sent(events) == [events[0], piece("SQLite", append=False, last=True), events[4]]


def test_artifacts_that_grow_side_by_side_are_told_apart() -> None:
    events: list[Event] = [
        task(WORKING),
        piece("a1", append=False),
        piece("b1", append=False, name="b"),
        piece("a2", last=True),
        piece("b2", last=True, name="b"),
    ]

    assert sent(events)[1:] == [
        piece("a1a2", append=False, last=True),
        piece("b1b2", append=False, last=True, name="b"),
    ]


def test_an_artifact_that_a_rerun_begins_anew_is_sent_as_it_is_then() -> None:
    events: list[Event] = [
        task(WORKING),
        piece("lost", append=False),
        piece("new", append=False),
        piece("er", last=True),
    ]

    assert sent(events)[1:] == [piece("newer", append=False, last=True)]


@pytest.mark.parametrize("state", [FAILED, TaskState.INPUT_REQUIRED])
def test_a_task_that_breaks_off_in_an_artifact_is_sent_whole(state: TaskState) -> None:
    """So the piece is not lost, and one event is one notification."""
    ended = status(state, "The model failed.")
    last = sent([task(WORKING), piece("Half of", append=False), ended])[-1]

    assert isinstance(last, Task)
    assert last.status == ended.status
    assert last.artifacts == [Artifact("a", [Part(text="Half of")])]


def test_a_task_that_goes_on_is_sent_as_it_is_then() -> None:
    events: list[Event] = [
        task(WORKING),
        status(TaskState.INPUT_REQUIRED, "Which city?"),
        task(WORKING),
        status(COMPLETED),
    ]

    assert sent(events) == events


def test_what_is_the_task_as_of_an_event_is_known() -> None:
    news = News()
    with pytest.raises(LookupError):
        news.task()
    assert news.apply(status(WORKING)) is None

    for event in (task(), status(WORKING), piece("Hi", append=False, last=True)):
        news.apply(event)

    assert news.task().artifacts == [Artifact("a", [Part(text="Hi")])]
    assert not news.ended
    news.apply(status(COMPLETED))
    assert news.ended
