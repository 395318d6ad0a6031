"""The stack under load answers by the text of the message."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.stacks import DirectMessage, TextDelta, TextPart, TurnCompleted, TurnRequest
from tests.load.stack import BenchStack

pytestmark = pytest.mark.anyio
COMPLETED = TurnCompleted("end_of_turn")


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("hello: you", [TextDelta("echo: hello: you"), COMPLETED]),
        ("stream:2:a:b", [TextDelta("echo: a:b 0000"), TextDelta("echo: a:b 0001"), COMPLETED]),
        ("pace:2:1:c", [TextDelta("echo: c 0000"), TextDelta("echo: c 0001"), COMPLETED]),
        ("hold:1:d", [TextDelta("echo: d"), COMPLETED]),
        ("msg:e", [DirectMessage((TextPart("echo: msg:e"),))]),
    ],
)
async def test_the_text_decides_the_answer(text: str, events: list[Any]) -> None:
    request = TurnRequest(
        conversation_id="c",
        task_id="t",
        context_id="x",
        message_id="m",
        owner="o",
        tenant="",
        parts=(TextPart(text),),
    )
    settings: Any = SimpleNamespace()
    assert [event async for event in BenchStack(settings).turn(request)] == events
