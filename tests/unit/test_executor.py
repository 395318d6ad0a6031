"""What becomes of the events of a turn."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, cast

import anyio
import msgspec
import pytest

from agent import stacks
from agent.errors import (
    ContentTypeNotSupported,
    InvalidParams,
    PromptTooLong,
    StackTimeout,
    TurnFailed,
)
from agent.executor import BROKEN_OFF, INTERNAL, execute
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
from agent.stacks import (
    ArtifactPart,
    AuthRequired,
    Citation,
    DataPart,
    DirectMessage,
    Failed,
    FilePart,
    InputRequired,
    Rejected,
    StepEnded,
    StepStarted,
    TextDelta,
    TextPart,
    TurnCompleted,
    TurnRequest,
    TurnStarted,
    Usage,
)
from agent.task_builder import TaskBuilder
from agent.translation import CUT_OFF, NOT_JSON

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.model import Event
    from agent.stacks import Stack, TurnEvent

pytestmark = pytest.mark.anyio

REQUEST = TurnRequest(
    conversation_id="conversation",
    task_id="task",
    context_id="context",
    message_id="m",
    owner="ann",
    tenant="",
    parts=(TextPart("hi"),),
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
DONE = TurnCompleted("end_of_turn")


class ScriptedTurn:
    """A stack whose turn is a list of events; an exception in it is raised."""

    def __init__(self, *script: TurnEvent | BaseException) -> None:
        """The turn is made when it is asked for."""
        self.script = script
        self.closed = False
        self.requests: list[TurnRequest] = []

    async def turn(self, request: TurnRequest) -> AsyncIterator[TurnEvent]:
        """See ``Stack``."""
        self.requests.append(request)
        try:
            for step in self.script:
                if isinstance(step, BaseException):
                    raise step
                yield step
        finally:
            self.closed = True


async def run(stack: Any, *modes: str, **fields: Any) -> list[Event]:
    """Return the events of a turn; what differs each time is taken out."""
    request = msgspec.structs.replace(REQUEST, accepted_output_modes=modes, **fields)
    with anyio.fail_after(5):
        return [_plain(event) async for event in execute(cast("Stack", stack), request)]


async def events(
    *script: TurnEvent | BaseException, modes: tuple[str, ...] = (), **fields: Any
) -> list[Event]:
    """Return what comes of a turn that has these events."""
    return await run(ScriptedTurn(*script), *modes, **fields)


def _plain(event: Event) -> Event:
    if isinstance(event, Message):
        return msgspec.structs.replace(event, message_id="")
    if isinstance(event, StatusUpdate):
        said = event.status.message
        assert TIME.fullmatch(event.status.timestamp or "")
        message = None if said is None else msgspec.structs.replace(said, message_id="")
        return msgspec.structs.replace(event, status=TaskStatus(event.status.state, message))
    return event


def status(state: TaskState, *parts: Part, metadata: dict[str, Any] | None = None) -> StatusUpdate:
    """Return a change of state, with a message of these parts if there are any."""
    message = Message("", Role.AGENT, list(parts), "context", "task") if parts else None
    return StatusUpdate("task", "context", TaskStatus(state, message), metadata)


def text(value: str, *, append: bool = True, last: bool = False, to: str = "answer") -> Event:
    """Return a piece of an artifact."""
    return artifact(Part(text=value), append=append, last=last, to=to)


def artifact(
    *parts: Part, append: bool = False, last: bool = True, to: str, name: str | None = None
) -> Event:
    """Return parts of an artifact."""
    return ArtifactUpdate("task", "context", Artifact(to, list(parts), name), append, last)


def completed(reason: str = "end_of_turn", *parts: Part, **metadata: Any) -> StatusUpdate:
    """Return the end of a task."""
    return status(TaskState.COMPLETED, *parts, metadata={"stop_reason": reason, **metadata})


WORKING = status(TaskState.WORKING)


async def test_an_answer_is_an_artifact_that_is_complete_before_the_task_is() -> None:
    assert await events(TurnStarted("t"), TextDelta("Hel"), TextDelta("lo"), DONE) == [
        status(TaskState.WORKING, metadata={"turn_id": "t"}),
        text("Hel", append=False),
        text("lo"),
        text("", last=True),
        completed(),
    ]


async def test_a_task_works_before_it_says_anything() -> None:
    assert (await events(TextDelta("a"), DONE))[:2] == [WORKING, text("a", append=False)]
    assert await events(DONE) == [WORKING, completed()]


async def test_the_turn_gets_the_request_as_it_is() -> None:
    stack = ScriptedTurn(DONE)

    await run(stack)

    assert stack.requests == [REQUEST]
    assert stack.closed


@pytest.mark.parametrize(
    ("whole", "said"),
    [
        (None, [text("a", append=False), text("b"), text("", last=True)]),
        ("ab", [text("a", append=False), text("b"), text("", last=True)]),
        ("abc", [text("a", append=False), text("b"), text("c", last=True)]),
        ("xy", [text("a", append=False), text("b"), text("xy", append=False, last=True)]),
        ("a", [text("a", append=False), text("b"), text("a", append=False, last=True)]),
        ("", [text("a", append=False), text("b"), text("", append=False, last=True)]),
    ],
    ids=["untold", "the same", "more", "another", "less", "nothing"],
)
async def test_the_whole_text_wins_over_its_pieces(whole: str | None, said: list[Event]) -> None:
    """Nothing is said twice unless the stack corrects what it streamed."""
    happened = await events(TextDelta("a"), TextDelta("b"), TurnCompleted("end_of_turn", whole))

    assert happened == [WORKING, *said, completed()]
    (answer,) = _task(happened).artifacts
    assert "".join(part.text or "" for part in answer.parts) == ("ab" if whole is None else whole)


async def test_an_answer_without_pieces_is_one_piece() -> None:
    happened = await events(TurnCompleted("end_of_turn", "all"))

    assert happened == [WORKING, text("all", append=False, last=True), completed()]


@pytest.mark.parametrize("whole", [None, ""])
async def test_no_text_is_no_artifact(whole: str | None) -> None:
    assert await events(TurnCompleted("end_of_turn", whole)) == [WORKING, completed()]


async def test_texts_beside_the_answer_are_closed_with_it() -> None:
    happened = await events(TextDelta("a", "notes"), TextDelta("b"), TextDelta("c", "notes"), DONE)

    assert happened == [
        WORKING,
        text("a", append=False, to="notes"),
        text("b", append=False),
        text("c", to="notes"),
        text("", last=True, to="notes"),
        text("", last=True),
        completed(),
    ]


async def test_parts_of_an_artifact_are_passed_on() -> None:
    happened = await events(
        ArtifactPart((TextPart("a"),), "report", "Report", last=False),
        ArtifactPart((FilePart("b.png", "image/png", data=b"hi"),), "report", append=True),
        ArtifactPart((DataPart({"k": 1}),), "numbers", append=True),
        DONE,
    )

    picture = Part(raw="aGk=", filename="b.png", media_type="image/png")
    data = Part(data={"k": 1}, media_type="application/json")
    assert happened == [
        WORKING,
        artifact(Part(text="a"), last=False, to="report", name="Report"),
        artifact(picture, append=True, to="report"),
        artifact(data, to="numbers"),
        completed(),
    ]


async def test_only_what_is_accepted_is_passed_on() -> None:
    """The answer is text in any case."""
    happened = await events(
        TextDelta("a"),
        ArtifactPart((FilePart(None, "image/png", data=b""), TextPart("t")), "mixed"),
        ArtifactPart((DataPart(1),), "data"),
        Citation("Source"),
        DONE,
        modes=("text/*",),
    )

    assert [e for e in happened if isinstance(e, ArtifactUpdate)] == [
        text("a", append=False),
        artifact(Part(text="t"), to="mixed"),
        text("", last=True),
    ]


async def test_steps_are_told_as_they_happen() -> None:
    happened = await events(
        StepStarted("tool_execution", "add", {"a": 1}),
        StepEnded("tool_execution", "add", {"sum": 2}),
        StepStarted("inference"),
        DONE,
    )

    data = Part(
        data={"tool_results": [{"tool_name": "add", "result": {"sum": 2}, "round": 1}]},
        media_type="application/json",
    )
    kind = {"kind": "tool_execution", "name": "add"}
    steps = [
        {**kind, "state": "started", "detail": {"a": 1}},
        {**kind, "state": "ended", "detail": {"sum": 2}},
        {"kind": "inference", "state": "started"},
    ]
    assert happened == [
        *(status(TaskState.WORKING, metadata={"step": step}) for step in steps),
        artifact(data, to="tool_results", name="Tool results"),
        completed(),
    ]
    assert _task(happened).metadata == {"stop_reason": "end_of_turn"}


async def test_sources_are_an_artifact_at_the_end() -> None:
    happened = await events(
        Citation("A", score=0.5), TextDelta("a"), Citation("B", uri="http://b"), DONE
    )

    data = Part(
        data={"citations": [{"title": "A", "score": 0.5}, {"title": "B", "uri": "http://b"}]},
        media_type="application/json",
    )
    assert happened[-2:] == [artifact(data, to="citations", name="Citations"), completed()]


async def test_usage_is_added_up() -> None:
    happened = await events(Usage(1, 10), Usage(2, 20), DONE)

    assert happened[-1] == completed(usage={"input_tokens": 3, "output_tokens": 30})


async def test_an_answer_that_was_cut_off_says_so() -> None:
    happened = await events(TextDelta("a"), TurnCompleted("out_of_tokens"))

    assert happened[-1] == completed("out_of_tokens", Part(text=CUT_OFF))


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (InputRequired("which?", {"k": 1}), TaskState.INPUT_REQUIRED),
        (AuthRequired("which?", {"k": 1}), TaskState.AUTH_REQUIRED),
    ],
)
async def test_a_question_interrupts_the_task(event: TurnEvent, state: TaskState) -> None:
    """The text before it is closed; what is asked for stands beside the question."""
    data = Part(data={"k": 1}, media_type="application/json")

    assert await events(TextDelta("a"), event, TextDelta("never")) == [
        WORKING,
        text("a", append=False),
        text("", last=True),
        status(state, Part(text="which?"), data),
    ]


async def test_a_question_may_come_first_and_be_text_only() -> None:
    assert await events(InputRequired("which?")) == [
        WORKING,
        status(TaskState.INPUT_REQUIRED, Part(text="which?")),
    ]


@pytest.mark.parametrize(
    ("event", "state"),
    [(Rejected("no"), TaskState.REJECTED), (Failed("no"), TaskState.FAILED)],
)
async def test_a_refusal_and_a_failure_end_the_task(event: TurnEvent, state: TaskState) -> None:
    assert await events(event, DONE) == [status(state, Part(text="no"))]
    assert (await events(TextDelta("a"), Usage(1, 2), event))[-1] == status(
        state, Part(text="no"), metadata={"usage": {"input_tokens": 1, "output_tokens": 2}}
    )


async def test_a_message_may_be_the_whole_answer() -> None:
    assert await events(DirectMessage((TextPart("hi"), DataPart(1)))) == [
        Message(
            "",
            Role.AGENT,
            [Part(text="hi"), Part(data=1, media_type="application/json")],
            context_id="context",
        )
    ]


async def test_a_message_that_comes_late_is_the_last_word_of_the_task() -> None:
    assert await events(TurnStarted("t"), DirectMessage((TextPart("hi"),))) == [
        status(TaskState.WORKING, metadata={"turn_id": "t"}),
        status(TaskState.COMPLETED, Part(text="hi")),
    ]


async def test_messages_have_ids_of_their_own() -> None:
    stack = cast("Stack", ScriptedTurn(InputRequired("which?")))
    ids = set()
    for _ in range(3):
        last = [event async for event in execute(stack, REQUEST)][-1]
        assert isinstance(last, StatusUpdate)
        assert last.status.message is not None
        ids.add(last.status.message.message_id)

    assert len(ids) == 3


async def test_nothing_comes_after_the_end() -> None:
    stack = ScriptedTurn(DONE, TextDelta("more"), Failed("no"))

    assert await run(stack) == [WORKING, completed()]
    assert stack.closed


async def test_a_turn_that_just_stops_has_failed() -> None:
    failed = status(TaskState.FAILED, Part(text=BROKEN_OFF))

    assert await events() == [failed]
    assert (await events(TextDelta("a")))[-1] == failed


@pytest.mark.parametrize("before", [(), (TextDelta("a"),)])
@pytest.mark.parametrize(
    ("error", "said", "reason"),
    [
        (TurnFailed("The model is on fire."), "The model is on fire.", "TURN_FAILED"),
        (
            StackTimeout(),
            "The stack behind this agent did not answer in time.",
            "STACK_TIMEOUT",
        ),
        (PromptTooLong(), "The conversation is too long for the model.", "PROMPT_TOO_LONG"),
        (ValueError("secret"), INTERNAL, None),
        (TimeoutError("secret"), INTERNAL, None),
    ],
)
async def test_an_error_of_the_stack_is_a_failed_task(
    before: tuple[TurnEvent, ...], error: Exception, said: str, reason: str | None
) -> None:
    """The caller hears what was written for it, and nothing of other exceptions."""
    metadata = {"reason": reason} if reason else None
    ended = status(TaskState.FAILED, Part(text=said), metadata=metadata)
    assert (await events(*before, error))[-1] == ended


async def test_a_stack_may_refuse_the_message_itself() -> None:
    stack = ScriptedTurn(ContentTypeNotSupported())

    with pytest.raises(ContentTypeNotSupported):
        await run(stack)
    assert stack.closed


async def test_a_stack_that_raises_before_its_turn_begins_fails_the_task() -> None:
    """``turn`` is not an async generator everywhere."""

    class Hasty:
        def turn(self, request: TurnRequest) -> AsyncIterator[TurnEvent]:
            raise ValueError(request)

    assert await run(Hasty()) == [status(TaskState.FAILED, Part(text=INTERNAL))]


async def test_a_stack_without_a_turn_fails_the_task() -> None:
    assert await run(stacks.BaseStack(cast("Any", None))) == [
        status(TaskState.FAILED, Part(text=INTERNAL))
    ]


async def test_a_turn_that_breaks_when_it_is_closed_has_said_what_it_said() -> None:
    class Sore(ScriptedTurn):
        async def turn(self, request: TurnRequest) -> AsyncIterator[TurnEvent]:
            try:
                async for event in super().turn(request):
                    yield event
            finally:
                raise OSError(request)

    assert await run(Sore(DONE)) == [WORKING, completed()]


@pytest.mark.parametrize(
    "event",
    [
        TextDelta("half \ud83d of a pair"),
        DirectMessage((DataPart(object()),)),
        StepEnded("tool_execution", "t", {"k": "\ud83d"}),
        InputRequired("which?", {1, "\udfff"}),
        TurnStarted(cast("Any", 5)),
        TextDelta(cast("Any", 5)),
        Failed(cast("Any", 5)),
        InputRequired(cast("Any", 5)),
        cast("Any", "no event at all"),
    ],
    ids=["text", "object", "step", "set", "turn", "number", "failure", "question", "string"],
)
async def test_what_cannot_be_written_fails_the_task(event: TurnEvent) -> None:
    """And goes no further: the writer of all tasks would stumble over it."""
    happened = await events(TextDelta("a"), event)

    last = happened[-1]
    assert isinstance(last, StatusUpdate)
    assert last.status.state is TaskState.FAILED
    assert msgspec.json.encode(happened)


async def test_a_turn_is_closed_when_nobody_wants_more_of_it() -> None:
    stack = ScriptedTurn(TextDelta("a"), TextDelta("b"), DONE)
    happening = execute(cast("Stack", stack), REQUEST)
    await anext(happening)

    await cast("Any", happening).aclose()

    assert stack.closed


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_a_stack_that_wants_to_end_the_server_ends_its_task(
    kind: type[BaseException],
) -> None:
    """Also one that says to be canceled, which nobody asked it to."""
    happened = await events(TextDelta("a"), kind("secret"))

    assert happened[-1] == status(TaskState.FAILED, Part(text=INTERNAL))


async def test_a_turn_of_a_task_that_is_canceled_stays_canceled() -> None:
    """What cancels the task that runs it is not the stack's doing."""
    reached = anyio.Event()

    class Waiting(ScriptedTurn):
        async def turn(self, request: TurnRequest) -> AsyncIterator[TurnEvent]:
            yield TextDelta(request.task_id)
            reached.set()
            await anyio.sleep_forever()

    running = asyncio.create_task(run(Waiting()))
    with anyio.fail_after(5):
        await reached.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_a_turn_that_does_not_end_when_it_is_closed_is_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was said stands, and the log has it."""

    class Clinging(ScriptedTurn):
        async def turn(self, request: TurnRequest) -> AsyncIterator[TurnEvent]:
            try:
                async for event in super().turn(request):
                    yield event
            finally:
                await anyio.sleep_forever()

    happened = [event async for event in execute(cast("Stack", Clinging(DONE)), REQUEST)]

    assert isinstance(last := happened[-1], StatusUpdate)
    assert last.status.state is TaskState.COMPLETED
    assert "was not closed" in caplog.text


FORM = {"type": "json_schema", "json_schema": {"name": "sum", "schema": {"type": "object"}}}
STRUCTURED = {"response_format": FORM}


@pytest.mark.parametrize("modes", [(), ("application/json",), ("text/plain", "application/*")])
async def test_an_answer_in_a_wanted_form_is_one_data_part(modes: tuple[str, ...]) -> None:
    """None of it was streamed as text."""
    happened = await events(
        TextDelta('{"sum": '), TextDelta("42}"), DONE, modes=modes, metadata=STRUCTURED
    )

    data = Part(data={"sum": 42}, media_type="application/json")
    assert happened == [
        WORKING,
        ArtifactUpdate("task", "context", Artifact("answer", [data]), last_chunk=True),
        completed(),
    ]


async def test_the_whole_text_of_a_structured_answer_wins() -> None:
    happened = await events(TextDelta("{"), TurnCompleted("end", "[1]"), metadata=STRUCTURED)

    (part,) = _task(happened).artifacts[0].parts
    assert part == Part(data=[1], media_type="application/json")


@pytest.mark.parametrize("text", ["Forty-two", "", "[" * 5000, '{"a": 1', "[" * 101 + "]" * 101])
async def test_an_answer_that_is_not_json_is_text_with_a_note(text: str) -> None:
    """Whoever takes text gets it."""
    happened = await events(TextDelta(text), DONE, metadata=STRUCTURED)

    task = _task(happened)
    assert [part.text for artifact in task.artifacts for part in artifact.parts] == [text] * bool(
        text
    )
    assert task.status.state is TaskState.COMPLETED
    assert isinstance(last := happened[-1], StatusUpdate)
    assert last.metadata == {"stop_reason": "end_of_turn", "response_format": {"met": False}}


async def test_an_answer_that_is_not_json_fails_where_only_json_is_taken() -> None:
    happened = await events(
        TextDelta("Forty-two"), DONE, modes=("application/json",), metadata=STRUCTURED
    )

    task = _task(happened)
    assert not task.artifacts
    assert task.status.state is TaskState.FAILED
    assert task.status.message is not None
    assert task.status.message.parts == [Part(text=NOT_JSON)]


async def test_a_structured_answer_is_text_where_only_text_is_taken() -> None:
    happened = await events(
        TextDelta("[4"), TextDelta("2]"), DONE, modes=("text/plain",), metadata=STRUCTURED
    )

    assert [part.text for part in _task(happened).artifacts[0].parts] == ["[42]"]
    assert isinstance(last := happened[-1], StatusUpdate)
    assert last.metadata == {"stop_reason": "end_of_turn"}


async def test_what_was_said_before_a_question_is_text_in_any_form() -> None:
    """It is not the answer yet."""
    happened = await events(
        TextDelta("Let me "), TextDelta("see."), InputRequired("?"), metadata=STRUCTURED
    )

    assert [part.text for part in _task(happened).artifacts[0].parts] == ["Let me see."]


async def test_a_form_that_is_none_is_refused_before_the_turn() -> None:
    stack = ScriptedTurn(DONE)
    with pytest.raises(InvalidParams, match=r"metadata\.response_format"):
        await run(stack, metadata={"response_format": {"type": "grammar"}})

    assert stack.requests == []


def _task(happened: list[Event]) -> Task:
    builder = TaskBuilder(Task("task", "context", TaskStatus(TaskState.SUBMITTED)))
    for event in happened:
        builder.apply(event)
    return builder.task()
