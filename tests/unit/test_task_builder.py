"""A task, built up from its events: live, and again from what is stored."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from a2a_state.tasks import StoredTask
from agent.dialects.v1_0 import Dialect1
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
from agent.replay import events, restore
from agent.task_builder import TaskBuilder
from tests.fakes.state import task_row

if TYPE_CHECKING:
    from agent.model import Event

QUESTION = Message("m", Role.USER, [Part(text="hi")])
TASK = Task("task", "context", TaskStatus(TaskState.SUBMITTED), history=[QUESTION])
PICTURE = Part(raw="aGk=", filename="a.png", media_type="image/png")


def update(*parts: Part, append: bool = True, artifact_id: str = "answer") -> ArtifactUpdate:
    """Return parts of an artifact."""
    return ArtifactUpdate("task", "context", Artifact(artifact_id, list(parts)), append=append)


def text(value: str, *, append: bool = True) -> ArtifactUpdate:
    """Return a piece of the answer."""
    return update(Part(text=value), append=append)


def status(state: TaskState, said: str = "", **metadata: Any) -> StatusUpdate:
    """Return a change of state, perhaps with a message."""
    message = Message(f"of {said}", Role.AGENT, [Part(text=said)]) if said else None
    return StatusUpdate("task", "context", TaskStatus(state, message), metadata or None)


def built(*happened: Event, task: Task = TASK) -> Task:
    """Return the task after these events."""
    builder = TaskBuilder(task)
    for event in happened:
        builder.apply(event)
    return builder.task()


def parts_of(task: Task) -> list[Part]:
    """Return the parts of the only artifact."""
    (artifact,) = task.artifacts
    return artifact.parts


def test_a_task_without_events_is_itself() -> None:
    assert built() == TASK


def test_text_that_is_appended_becomes_one_part() -> None:
    pieces = [text("a", append=False), text("b"), text(""), text("c")]

    assert parts_of(built(*pieces)) == [Part(text="abc")]


def test_text_after_something_else_is_a_part_of_its_own() -> None:
    happened = [update(Part(text="a"), PICTURE), text("b"), text("c"), update(PICTURE), text("d")]

    parts = parts_of(built(*happened))

    assert parts == [Part(text="a"), PICTURE, Part(text="bc"), PICTURE, Part(text="d")]


def test_text_with_metadata_stays_as_it_is() -> None:
    marked = Part(text="b", metadata={"k": 1})

    parts = parts_of(built(text("a"), update(marked), text("c"), text("d")))

    assert parts == [Part(text="a"), marked, Part(text="cd")]


def test_appending_to_what_is_not_there_begins_it() -> None:
    assert parts_of(built(text("a", append=True))) == [Part(text="a")]


def test_an_artifact_that_is_not_appended_to_is_replaced() -> None:
    assert parts_of(built(text("a"), text("b", append=False), text("c"))) == [Part(text="bc")]


def test_artifacts_stand_in_the_order_they_began_in() -> None:
    happened = [
        update(PICTURE, artifact_id="picture"),
        text("a"),
        update(PICTURE, artifact_id="picture"),
    ]

    assert [a.artifact_id for a in built(*happened).artifacts] == ["picture", "answer"]


def test_an_artifact_keeps_its_name() -> None:
    named = Artifact("answer", [Part(text="a")], name="Answer", metadata={"k": 1})
    happened = [ArtifactUpdate("task", "context", named), text("b")]

    (artifact,) = built(*happened).artifacts

    assert artifact == msgspec.structs.replace(named, parts=[Part(text="ab")])


def test_what_the_agent_said_before_becomes_history() -> None:
    task = built(
        status(TaskState.INPUT_REQUIRED, "which?"),
        status(TaskState.WORKING),
        status(TaskState.COMPLETED, "done"),
    )

    assert [message.message_id for message in task.history] == ["m", "of which?"]
    assert task.status == status(TaskState.COMPLETED, "done").status


def test_a_message_becomes_history() -> None:
    answer = Message("n", Role.AGENT, [Part(text="ok")])

    assert built(answer).history == [QUESTION, answer]


def test_metadata_is_gathered_without_what_tells_of_a_moment_only() -> None:
    task = built(
        status(TaskState.WORKING, turn_id="t", step={"kind": "inference"}),
        status(TaskState.WORKING, usage=1),
        status(TaskState.WORKING, usage=2),
        task=msgspec.structs.replace(TASK, metadata={"first": True}),
    )

    assert task.metadata == {"first": True, "turn_id": "t", "usage": 2}


def test_a_task_that_was_handed_out_does_not_change() -> None:
    builder = TaskBuilder(TASK)
    builder.apply(text("a"))
    builder.apply(status(TaskState.INPUT_REQUIRED, "which?", k=1))
    before = builder.task()
    copy = msgspec.json.decode(msgspec.json.encode(before), type=Task)

    later: list[Event] = [text("b"), update(PICTURE), status(TaskState.WORKING, k=2), QUESTION]
    for event in later:
        builder.apply(event)

    assert before == copy
    assert builder.task() != before
    assert TASK.history == [QUESTION]


def test_every_kind_of_event_is_read_back_as_it_was() -> None:
    happened: list[Event] = [
        TASK,
        status(TaskState.WORKING, "wait", turn_id="t"),
        update(PICTURE, Part(data=None), Part(data={"k": [1, 2.5, None]}), Part(url="http://x/y")),
        ArtifactUpdate("task", "context", Artifact("a", []), append=True, last_chunk=True),
        QUESTION,
    ]
    body = b"[" + b",".join(Dialect1().event(event) for event in happened) + b"]"

    assert list(events(body)) == happened


@pytest.mark.parametrize("seed", range(50))
def test_a_task_is_restored_as_it_was_from_any_row_and_what_came_after(seed: int) -> None:
    """Also from the row of a task that was restored itself."""
    dice = random.Random(seed)  # noqa: S311 - the same events each time
    dialect = Dialect1()
    live = TaskBuilder(TASK)
    row, later = task_row(body=dialect.task(TASK)), []
    for seq in range(2, 60):
        event = _any_event(dice)
        live.apply(event)
        later.append(b"[" + dialect.event(event) + b"]")
        if dice.random() < 0.1:
            row, later = task_row(body=dialect.task(live.task()), seq=seq), []
        if dice.random() < 0.1:
            live = TaskBuilder(restore(StoredTask(row, tuple(later))))

        if dice.random() < 0.2:
            assert restore(StoredTask(row, tuple(later))) == live.task()

    assert restore(StoredTask(row, tuple(later))) == live.task()


def _any_event(dice: random.Random) -> Event:
    kind = dice.random()
    if kind < 0.2:
        metadata: dict[str, Any] = dice.choice(
            [{}, {"turn_id": "t"}, {"usage": dice.randrange(9)}, {"step": 1}]
        )
        return status(dice.choice(list(TaskState)), dice.choice(["", "well"]), **metadata)
    if kind < 0.25:
        return Message(f"m{dice.random()}", Role.AGENT, [_any_part(dice)])
    parts = [_any_part(dice) for _ in range(dice.choice([1, 1, 1, 0, 2]))]
    return ArtifactUpdate(
        "task",
        "context",
        Artifact(dice.choice("ab"), parts, name=dice.choice([None, "name"])),
        append=dice.random() < 0.8,
        last_chunk=dice.random() < 0.1,
    )


def _any_part(dice: random.Random) -> Part:
    return dice.choice(
        [
            Part(text=f"{dice.random()} "),
            Part(text=""),
            Part(text="é\0\n\u2028😀"),
            Part(text="x", metadata={}),
            Part(text="x", metadata={"k": 1}),
            Part(data=None),
            Part(data=[1, {"k": 2.5}]),
            PICTURE,
        ]
    )
