"""What a message must be like."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.errors import ContentTypeNotSupported, InvalidParams
from agent.message_check import MessageCheck
from agent.model import Message, Part, Role, SendRequest
from agent.settings.own import Limits

CHECK = MessageCheck(Limits(parts=3, id_chars=10, referenced_tasks=2), ("text/plain", "image/*"))
MESSAGE = Message("m-1", Role.USER, [Part(text="hi")])


def request(**changes: Any) -> SendRequest:
    """Return a message that is as it should be, but for ``changes``."""
    return SendRequest(msgspec.structs.replace(MESSAGE, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"context_id": "c", "task_id": "t", "reference_task_ids": ["a", "b"]},
        {"parts": [Part(text="hi")] * 3},
        {"parts": [Part(raw="", media_type="image/png")]},
        {"parts": [Part(raw="", media_type="IMAGE/PNG; a=b")]},
        {"parts": [Part(raw="", media_type="text/x-anything")]},
        {"parts": [Part(data={}, media_type="application/vnd.a+json")]},
        {"parts": [Part(raw="")]},
    ],
)
def test_a_message_as_it_should_be_is_let_through(changes: dict[str, Any]) -> None:
    CHECK.check(request(**changes))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"message_id": ""}, "message.messageId"),
        ({"message_id": "x" * 11}, "message.messageId"),
        ({"context_id": "a\nb"}, "message.contextId"),
        ({"task_id": "x" * 11}, "message.taskId"),
        ({"role": Role.AGENT}, "message.role"),
        ({"parts": []}, "message.parts"),
        ({"parts": [Part(text="hi")] * 4}, "message.parts"),
        ({"reference_task_ids": ["a", "b", "c"]}, "message.referenceTaskIds"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        CHECK.check(request(**changes))
    assert refused.value.field == field


@pytest.mark.parametrize("media_type", ["application/pdf", "video/mp4", "x" * 1000])
def test_a_media_type_that_the_card_does_not_name_is_refused(media_type: str) -> None:
    part = Part(raw="", media_type=media_type)
    with pytest.raises(ContentTypeNotSupported) as refused:
        CHECK.check(request(parts=[Part(text="hi"), part]))
    assert len(refused.value.message) < 200


@pytest.mark.parametrize(
    "modes", [("text/plain",), ("application/json", "image/png"), ("*/*",), ()]
)
def test_answers_are_text_or_json(modes: tuple[str, ...]) -> None:
    CHECK.check(SendRequest(MESSAGE, accepted_output_modes=modes))


def test_who_takes_neither_is_refused() -> None:
    with pytest.raises(ContentTypeNotSupported):
        CHECK.check(SendRequest(MESSAGE, accepted_output_modes=("image/png",)))
