"""What is kept of a message, and the request that is made of it, once or again."""

from __future__ import annotations

from typing import Any

import pytest

from agent.caller import Caller
from agent.model import Message, Part, Role, SendRequest, Task, TaskState, TaskStatus
from agent.settings.own import Limits
from agent.stacks import Answer, Resume, TextPart, TurnRequest
from agent.turn_requests import (
    StoredRequest,
    read_stored_request,
    stored_request,
    try_again,
    turn_request,
    write_stored_request,
)

FORM = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
RESUME = Resume("turn", (Answer("c1", "4", "add"),))
NO_ANSWERS = Resume("turn", ())


def message(text: str, role: Role = Role.USER, **fields: Any) -> Message:
    """Return a message; as with some callers, all have the same id."""
    return Message("m", role, [Part(text=text)], **fields)


def sent(text: str, **fields: Any) -> SendRequest:
    return SendRequest(message(text), **fields)


def asked(said: Message, stored: StoredRequest, *history: Message) -> TurnRequest:
    """Return the request for a message of a task with this history."""
    task = Task("t", "c", TaskStatus(TaskState.WORKING), history=list(history))
    return turn_request(Caller("o"), task, said, stored, (), Limits())


def test_a_turn_that_had_no_credentials_is_tried_again() -> None:
    """With what it was about, then with what is new; also when it has to be made anew."""
    question, answer = message("sum?"), message("done")
    before = stored_request(SendRequest(question), None, ())
    stored = try_again(stored_request(SendRequest(answer), NO_ANSWERS, (), before), before)
    stored = read_stored_request(write_stored_request(stored)) or before
    said = [message("older"), message("go"), question, message("auth", Role.AGENT)]

    request = asked(answer, stored, *said)
    again = asked(answer, stored, *said, answer)

    assert request.parts == again.parts == (TextPart("sum?"), TextPart("done"))
    assert request.resume == NO_ANSWERS


def test_a_turn_that_has_no_credentials_still_is_about_all_that_was_said() -> None:
    first = stored_request(sent("sum?"), None, ())
    second = try_again(stored_request(sent("now?"), NO_ANSWERS, (), first), first)
    third = try_again(stored_request(sent("now!"), NO_ANSWERS, (), second), second)

    request = asked(message("now!"), third, message("sum?"), message("now?"))

    assert request.parts == (TextPart("sum?"), TextPart("now?"), TextPart("now!"))


def test_a_resumed_turn_is_tried_again_with_its_answers() -> None:
    """Not with those to a question that nobody asked."""
    before = stored_request(sent("4"), RESUME, ())

    stored = try_again(stored_request(sent("done"), Resume("later", ()), (), before), before)

    assert stored.resume == RESUME


def test_a_task_of_an_older_version_is_tried_with_what_is_new() -> None:
    stored = stored_request(sent("done"), NO_ANSWERS, (), None)

    assert try_again(stored, None) == stored


@pytest.mark.parametrize(
    ("given", "metadata"),
    [
        (None, {"response_format": FORM}),
        ({"k": 1}, {"response_format": FORM, "k": 1}),
        ({"response_format": {"type": "text"}}, {"response_format": {"type": "text"}}),
    ],
)
def test_a_follow_up_keeps_the_form_of_the_answer(given: Any, metadata: Any) -> None:
    """Unless it asks for another; nothing else is kept."""
    before = stored_request(sent("sum?", metadata={"response_format": FORM, "x": 1}), None, ())

    stored = stored_request(sent("4", metadata=given), RESUME, (), before)

    assert stored.metadata == metadata


def test_a_message_alone_is_all_that_its_turn_is_about() -> None:
    stored = stored_request(sent("b", metadata={"k": 1}), None, ())

    request = asked(message("b"), stored, message("a"))

    assert request.parts == (TextPart("b"),)
    assert request.metadata == {"k": 1}
