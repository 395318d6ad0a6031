"""The log of a task -> the turns in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.conversation_turns import TurnLog, only_turn
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

if TYPE_CHECKING:
    from agent.conversation_turns import Turn
    from agent.model import Event, Json

SECOND = 1000


def at(second: int) -> str:
    """Return a moment."""
    return f"1970-01-01T00:00:{second:02d}.000Z"


def said(text: str, role: Role = Role.USER) -> Message:
    """Return a message."""
    return Message("m", role, [Part(text=text)])


def begun(second: int, *history: Message) -> Task:
    """Return the task as it stands when a turn begins."""
    artifacts = [Artifact("answer", [Part(text="of an earlier turn")])]
    status = TaskStatus(TaskState.WORKING, timestamp=at(second))
    return Task("t", "c", status, artifacts, list(history))


def told(text: str, artifact_id: str = "answer", *, append: bool = True) -> ArtifactUpdate:
    """Return a piece of an answer."""
    return ArtifactUpdate("t", "c", Artifact(artifact_id, [Part(text=text)]), append)


def became(state: TaskState, second: int, text: str = "", metadata: Json = None) -> StatusUpdate:
    """Return a change of state."""
    message = said(text, Role.AGENT) if text else None
    return StatusUpdate("t", "c", TaskStatus(state, message, at(second)), metadata)


def turns_in(*events: Event) -> list[Turn]:
    """Return the turns that events tell of."""
    log = TurnLog()
    return [turn for event in events if (turn := log.hear(event)) is not None]


def test_a_turn_is_what_was_said_from_one_message_to_where_the_task_settled() -> None:
    first, second = said("first"), said("second")
    turns = turns_in(
        begun(1, first),
        became(TaskState.WORKING, 1, metadata={"model": "p/one"}),
        told("a"),
        told("b"),
        became(TaskState.INPUT_REQUIRED, 3, "Which?"),
        begun(20, first, said("Which?", Role.AGENT), second),
        told("c", "answer-2"),
        became(TaskState.COMPLETED, 25),
    )
    assert [(turn.question, turn.answer) for turn in turns] == [
        ("first", "ab\n\nWhich?"),
        ("second", "c"),
    ]
    assert [(turn.started_at, turn.completed_at) for turn in turns] == [
        (1 * SECOND, 3 * SECOND),
        (20 * SECOND, 25 * SECOND),
    ]
    assert [turn.model for turn in turns] == ["p/one", None]


def test_what_a_turn_said_before_its_process_died_is_replaced() -> None:
    (turn,) = turns_in(
        begun(1, said("first")),
        told("half"),
        became(TaskState.WORKING, 2, metadata={"recovery": {"attempt": 1}}),
        told("half", append=False),
        told("whole", append=False),
        became(TaskState.COMPLETED, 3),
    )
    assert turn.answer == "whole"


def test_what_is_canceled_while_it_waits_is_no_turn_of_its_own() -> None:
    (turn,) = turns_in(
        begun(1, said("first")),
        became(TaskState.INPUT_REQUIRED, 2, "Which?"),
        became(TaskState.CANCELED, 9),
    )
    assert turn.answer == "Which?"
    assert turn.completed_at == 2 * SECOND


def test_a_turn_that_runs_is_none_yet() -> None:
    assert turns_in(begun(1, said("first")), told("a")) == []
    assert only_turn(begun(1, said("first")), 1) is None


def test_a_log_whose_beginning_is_missing_tells_nothing() -> None:
    assert turns_in(told("a"), became(TaskState.COMPLETED, 2)) == []


def test_other_artifacts_are_the_answer_where_there_is_none() -> None:
    status = TaskStatus(TaskState.COMPLETED, timestamp=at(2))
    artifacts = [
        Artifact("report", [Part(text="all is well"), Part(data={"n": 1})]),
        Artifact("citations", [Part(data={"citations": []})]),
        Artifact("tool_results", [Part(data={"tool_results": [{"tool_name": "find"}, "odd"]})]),
        Artifact("tool_results-2", [Part(data=["odd"])]),
    ]
    turn = only_turn(Task("t", "c", status, artifacts, [said("hi")]), 1)
    assert turn is not None
    assert turn.answer == 'all is well\n\n{"n":1}'
    assert turn.tools == ({"tool_name": "find"},)
