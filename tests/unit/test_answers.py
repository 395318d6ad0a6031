"""What a follow-up answers to."""

from __future__ import annotations

from typing import Any

import pytest

from agent.answers import YES, answers
from agent.model import Message, Part, Role
from agent.stacks import Answer

TOOLS = {
    "tool_calls": [
        {"call_id": "c1", "tool_name": "add", "arguments": {"a": 1}},
        {"call_id": "c2", "tool_name": "sub", "arguments": {}},
    ]
}
APPROVALS = {"approvals": [{"call_id": "a1", "tool_name": "rm"}]}


def question(*data: Any) -> Message:
    """Return what the agent asks for, after some text."""
    parts = [Part(text="Please answer."), *(Part(data=one) for one in data)]
    return Message("q", Role.AGENT, parts)


def reply(*contents: Any) -> Message:
    """Return a message of the user: text from strings, data from all else."""
    parts = [Part(text=c) if isinstance(c, str) else Part(data=c) for c in contents]
    return Message("r", Role.USER, parts)


def test_text_answers_every_call() -> None:
    assert answers(question(TOOLS), reply("4", "and more")) == (
        Answer("c1", "4\nand more", "add"),
        Answer("c2", "4\nand more", "sub"),
    )


def test_data_answers_by_call_id() -> None:
    given = reply({"call_id": "c2", "content": "two"}, {"call_id": "c1", "content": "one"})

    assert answers(question(TOOLS), given) == (
        Answer("c1", "one", "add"),
        Answer("c2", "two", "sub"),
    )


def test_a_list_of_answers_is_as_good_as_many_parts() -> None:
    given = reply(
        {"answers": [{"call_id": "c2", "content": "2"}, {"call_id": "c1", "content": "1"}]}
    )

    assert [answer.content for answer in answers(question(TOOLS), given)] == ["1", "2"]


def test_text_answers_what_no_data_answers() -> None:
    given = reply("the rest", {"call_id": "c2", "content": "two"})

    assert [a.content for a in answers(question(TOOLS), given)] == ["the rest", "two"]


@pytest.mark.parametrize(
    ("content", "text"),
    [({"sum": 4}, '{"sum":4}'), ([1, "é"], '[1,"é"]'), (4, "4"), (None, "null"), ("", "")],
)
def test_content_that_is_not_text_goes_on_as_json(content: Any, text: str) -> None:
    given = reply({"call_id": "c1", "content": content})

    assert answers(question(TOOLS), given)[0] == Answer("c1", text, "add")


def test_an_answer_to_another_call_answers_none() -> None:
    given = reply("text", {"call_id": "c9", "content": "nine"})

    assert [answer.content for answer in answers(question(TOOLS), given)] == ["text", "text"]


def test_an_answer_that_names_no_call_answers_the_open_ones() -> None:
    given = reply({"call_id": "c1", "content": "one"}, {"content": "any"})

    assert [answer.content for answer in answers(question(TOOLS), given)] == ["one", "any"]


@pytest.mark.parametrize("word", [*sorted(YES), " Yes\n", "APPROVE"])
def test_a_word_of_consent_approves(word: str) -> None:
    assert answers(question(APPROVALS), reply(word)) == (Answer("a1", word, approve=True),)


@pytest.mark.parametrize("word", ["no", "", "yes, but later", "deny", "not ok", "approve?"])
def test_any_other_word_does_not(word: str) -> None:
    assert answers(question(APPROVALS), reply(word)) == (Answer("a1", word, approve=False),)


@pytest.mark.parametrize(("value", "approve"), [(True, True), ("yes", True), ("Approved", True)])
def test_data_approves_with_true_or_a_word_of_consent(value: Any, approve: bool) -> None:
    given = reply({"call_id": "a1", "approve": value})

    assert answers(question(APPROVALS), given)[0].approve is approve


@pytest.mark.parametrize("value", [False, "false", "no", 0, 1, None, [], ["yes"], {"yes": True}])
def test_only_a_clear_yes_approves(value: Any) -> None:
    given = reply({"call_id": "a1", "approve": value})

    assert answers(question(APPROVALS), given)[0].approve is False


def test_data_that_refuses_wins_over_text_that_consents() -> None:
    given = reply("yes", {"call_id": "a1", "approve": False, "reason": "too risky"})

    assert answers(question(APPROVALS), given) == (Answer("a1", "too risky", approve=False),)


def test_one_message_may_answer_calls_and_approvals() -> None:
    given = reply(
        {"answers": [{"call_id": "a1", "approve": True}, {"call_id": "c1", "content": 1}]}
    )

    found = answers(question(TOOLS | APPROVALS), given)

    assert [(a.call_id, a.approve) for a in found] == [("c1", None), ("c2", None), ("a1", True)]


@pytest.mark.parametrize(
    "data",
    [
        None,
        "text",
        [1],
        {},
        {"answers": None},
        {"answers": [1, None, []]},
        {"answers": {"call_id": "c1"}},
        {"call_id": ["c1"]},
        {"call_id": {"c1": 1}, "content": "x"},
        {"call_id": None},
    ],
)
def test_data_in_no_known_shape_is_no_error(data: Any) -> None:
    found = answers(question(TOOLS), Message("r", Role.USER, [Part(text="t"), Part(data=data)]))

    assert [answer.content for answer in found] == ["t", "t"]


@pytest.mark.parametrize(
    "asked",
    [
        None,
        question(),
        question("text", None, [1]),
        question({"tool_calls": None}, {"approvals": {"call_id": "a"}}, {"tool_calls": [1, {}]}),
    ],
)
def test_nothing_is_answered_where_nothing_was_asked(asked: Message | None) -> None:
    assert answers(asked, reply("yes", {"call_id": "c1", "content": "x"})) == ()


@pytest.mark.parametrize("word", sorted(YES))
def test_what_was_written_before_the_question_approves_nothing(word: str) -> None:
    """Neither text, nor data that names no call; what names it was written for it."""
    (by_text,) = answers(question(APPROVALS), reply(word), waited=True)
    (loose,) = answers(question(APPROVALS), reply({"approve": True}), waited=True)
    (other,) = answers(question(APPROVALS), reply({"call_id": "a2", "approve": 1}), waited=True)
    (named,) = answers(question(APPROVALS), reply({"call_id": "a1", "approve": word}), waited=True)

    assert (by_text.approve, loose.approve, other.approve, named.approve) == (
        False,
        False,
        False,
        True,
    )


def test_an_approval_that_is_named_without_a_word_is_none() -> None:
    """The text beside it may be of before the question."""
    (answer,) = answers(question(APPROVALS), reply("yes", {"call_id": "a1"}), waited=True)

    assert answer.approve is False


def test_text_that_waited_still_answers_a_tool() -> None:
    (first, _) = answers(question(TOOLS), reply("4"), waited=True)

    assert first == Answer("c1", "4", "add")
