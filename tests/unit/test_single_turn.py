"""A turn that is one question and its answer, with stacks that say what the test tells them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import StackUnavailable, TurnFailed
from agent.settings import Settings
from agent.stacks import (
    AuthRequired,
    BaseStack,
    Citation,
    DataPart,
    DirectMessage,
    Failed,
    Inference,
    Inferred,
    InputRequired,
    Rejected,
    StepStarted,
    TextDelta,
    TextPart,
    TurnCompleted,
    TurnOptions,
    TurnRequest,
    TurnStarted,
    Usage,
)
from agent.stacks.single_turn import TOPIC, answer_of, request_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

ASKED = Inference(text="Port?", instructions="Be brief.", owner="me", model="p/m")


class Scripted:
    """An iterator of events that notes whether it was closed; an exception among them is raised."""

    def __init__(self, *events: Any) -> None:
        self._events = list(events)
        self.closed = 0

    def __aiter__(self) -> Scripted:
        return self

    async def __anext__(self) -> Any:
        if not self._events:
            raise StopAsyncIteration
        event = self._events.pop(0)
        if isinstance(event, Exception):
            raise event
        return event

    async def aclose(self) -> None:
        """Note it."""
        self.closed += 1


class Plain:
    """An iterator that cannot be closed."""

    def __init__(self, *events: Any) -> None:
        self._events = iter(events)

    def __aiter__(self) -> Plain:
        return self

    async def __anext__(self) -> Any:
        for event in self._events:
            return event
        raise StopAsyncIteration


class Custom(BaseStack):
    """A stack of somebody's own, with nothing but ``turn``."""

    def __init__(self, *events: Any) -> None:
        super().__init__(Settings())
        self.events = Scripted(*events)
        self.requests: list[TurnRequest] = []
        self.forgotten: list[str] = []

    def turn(self, request: TurnRequest) -> AsyncIterator[Any]:
        """Say it."""
        self.requests.append(request)
        return self.events

    async def delete_conversation(self, conversation_id: str) -> None:
        """Note it."""
        self.forgotten.append(conversation_id)


DONE = TurnCompleted("end_of_turn")


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([TextDelta("It is "), TextDelta("8080."), DONE], Inferred("It is 8080.", None, None)),
        ([TextDelta("It"), TurnCompleted("end_of_turn", "Is")], Inferred("Is", None, None)),
        ([TurnCompleted("end_of_turn", "")], Inferred("", None, None)),
        ([TurnStarted("t", "p/m"), DONE], Inferred("", "p/m", None)),
        ([TurnStarted("t", "p/m"), TurnStarted("t"), DONE], Inferred("", "p/m", None)),
        ([Usage(1, 2), TextDelta("a"), Usage(3, 4), DONE], Inferred("a", None, Usage(4, 6))),
        (
            [DirectMessage((TextPart("a"), DataPart({}), TextPart("b")))],
            Inferred("a\n\nb", None, None),
        ),
        (
            [StepStarted("inference"), Citation("G"), TextDelta("x", "log"), TextDelta("a"), DONE],
            Inferred("a", None, None),
        ),
    ],
    ids=["deltas", "whole", "nothing", "model", "once", "usage", "message", "others"],
)
async def test_the_answer_of_a_turn_is_its_text(events: list[Any], said: Inferred) -> None:
    """With the model and the tokens of the turn, as far as they are told."""
    turn = Scripted(*events)
    assert await answer_of(turn) == said
    assert turn.closed == 1


@pytest.mark.parametrize(
    "last",
    [Failed("no"), Rejected("no"), InputRequired("no"), AuthRequired("no")],
    ids=lambda event: type(event).__name__,
)
async def test_a_turn_that_ends_otherwise_has_no_answer(last: Any) -> None:
    """What it says is told; half an answer is none."""
    turn = Scripted(TextDelta("It is "), last, DONE)
    with pytest.raises(TurnFailed) as caught:
        await answer_of(turn)
    assert caught.value.message == "no"
    assert turn.closed == 1


async def test_a_turn_that_just_stops_has_no_answer() -> None:
    with pytest.raises(TurnFailed):
        await answer_of(Scripted(TextDelta("It is ")))


async def test_what_a_turn_raises_is_passed_on() -> None:
    turn = Scripted(TextDelta("It is "), StackUnavailable())
    with pytest.raises(StackUnavailable):
        await answer_of(turn)
    assert turn.closed == 1


async def test_an_iterator_that_cannot_be_closed_is_read() -> None:
    assert (await answer_of(Plain(TextDelta("a"), DONE, TextDelta("b")))).text == "a"


def test_the_request_is_one_without_tools() -> None:
    """Its ids are new each time, its conversation is the one that is given."""
    request, another = (request_for(ASKED, "c1") for _ in range(2))
    assert request.options == TurnOptions(instructions="Be brief.", no_tools=True)
    assert (request.parts, request.model, request.owner) == ((TextPart("Port?"),), "p/m", "me")
    assert request.conversation_id == "c1"
    assert request.resume is None
    ids = {request.task_id, request.message_id, another.task_id, another.message_id}
    assert len(ids) == 4
    assert all(str(uuid.UUID(each)) == each for each in ids)


async def test_a_stack_of_ones_own_can_be_asked() -> None:
    """In a conversation of its own, which is forgotten."""
    stack = Custom(TurnStarted("t", "p/m"), TextDelta("8080"), Usage(3, 1), DONE)
    assert await stack.infer(ASKED) == Inferred("8080", "p/m", Usage(3, 1))
    (request,) = stack.requests
    assert stack.forgotten == [request.conversation_id]
    assert stack.events.closed == 1


async def test_the_conversation_is_forgotten_also_when_nothing_comes_of_it() -> None:
    stack = Custom(Failed("no"))
    with pytest.raises(TurnFailed, match="no"):
        await stack.infer(ASKED)
    assert len(stack.forgotten) == 1


async def test_a_stack_of_ones_own_names_topics() -> None:
    """The model that is wanted is asked, in the name of whoever asks."""
    stack = Custom(TextDelta("Ports"), DONE)
    assert (await stack.topic_of("Port?", "me", "p/m")).text == "Ports"
    (request,) = stack.requests
    assert request.options.instructions == TOPIC
    assert (request.owner, request.model, request.parts) == ("me", "p/m", (TextPart("Port?"),))
