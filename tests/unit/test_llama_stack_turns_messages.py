"""What a turn may be made of, in both shapes of its request."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from rest_compat.llama_stack.turns_messages import CreateAgentTurnRequest, ResumeAgentTurnRequest

HI: dict[str, Any] = {"role": "user", "content": "hi"}
DOCUMENT: dict[str, Any] = {"content": "text", "mime_type": "text/plain"}
RESPONSE: dict[str, Any] = {"call_id": "c", "tool_name": "t", "content": "done"}
GROUP: dict[str, Any] = {"name": "mcp::a", "args": {"x": 1}}
IMAGE: dict[str, Any] = {"type": "image", "image": {"data": "aGk="}}


def asked(**given: Any) -> CreateAgentTurnRequest:
    return CreateAgentTurnRequest.model_validate({"messages": [HI]} | given)


@pytest.mark.parametrize(
    ("name", "one"),
    [
        ("messages", HI),
        ("documents", DOCUMENT),
        ("toolgroups", "mcp::a"),
        ("toolgroups", GROUP),
    ],
    ids=str,
)
def test_one_by_itself_is_a_list_of_it(name: str, one: Any) -> None:
    assert asked(**{name: one}) == asked(**{name: [one]})
    assert getattr(asked(**{name: one}).turn(), name)


def test_one_response_by_itself_is_a_list_of_it() -> None:
    single = ResumeAgentTurnRequest.model_validate({"tool_responses": RESPONSE})
    assert single == ResumeAgentTurnRequest.model_validate({"tool_responses": [RESPONSE]})
    assert single.model_dump()["tool_responses"] == [RESPONSE | {"metadata": None}]


def test_messages_are_told_in_full() -> None:
    url = {"type": "image", "image": {"url": {"uri": "https://a.test/b.png"}}}
    turn = asked(
        messages=[
            HI | {"context": "c"},
            {"role": "user", "content": [{"type": "text", "text": "t"}, IMAGE, url]},
            {"role": "tool", "call_id": "c", "content": {"type": "text", "text": "t"}},
        ],
        agent_id="ignored",
        session_id="ignored",
    ).turn()
    assert turn.messages == (
        {"role": "user", "content": "hi", "context": "c"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "t"},
                {"type": "image", "image": {"url": None, "data": "aGk="}},
                {"type": "image", "image": {"url": {"uri": "https://a.test/b.png"}, "data": None}},
            ],
            "context": None,
        },
        {"role": "tool", "call_id": "c", "content": {"type": "text", "text": "t"}},
    )
    assert (turn.documents, turn.toolgroups, turn.tool_config) == ((), None, None)


def test_no_tool_groups_are_not_the_same_as_those_of_the_agent() -> None:
    assert asked(toolgroups=[]).turn().toolgroups == ()
    assert asked(toolgroups=None).turn().toolgroups is None


def test_documents_and_the_tool_config_are_those_of_the_turn() -> None:
    turn = asked(
        documents=[DOCUMENT, {"content": {"uri": "https://a.test"}, "mime_type": "text/html"}],
        tool_config={"tool_choice": "none"},
    ).turn()
    assert turn.documents == (
        DOCUMENT,
        {"content": {"uri": "https://a.test"}, "mime_type": "text/html"},
    )
    assert turn.tool_config["tool_choice"] == "none"


@pytest.mark.parametrize(
    ("given", "where", "kind"),
    [
        ({"messages": []}, "messages", "too_short"),
        ({"messages": [HI] * 101}, "messages", "too_long"),
        ({"messages": "hi"}, "UserMessage", "model_type"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "role", "literal_error"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "call_id", "missing"),
        ({"messages": [{"role": "user"}]}, "content", "missing"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, 0, "union_tag_not_found"),
        (
            {"messages": [{"role": "user", "content": {"type": "image", "image": {}}}]},
            "image",
            "value_error",
        ),
        ({"documents": [{"content": "x"}]}, "mime_type", "missing"),
        ({"documents": [DOCUMENT] * 101}, "documents", "too_long"),
        ({"toolgroups": [{"args": {}}]}, "name", "missing"),
        ({"tool_config": "auto"}, "tool_config", "model_type"),
        ({"stream": "perhaps"}, "stream", "bool_parsing"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_makes_no_turn_is_refused(given: Any, where: int | str, kind: str) -> None:
    with pytest.raises(ValidationError) as caught:
        asked(**given)
    assert (where, kind) in [(each["loc"][-1], each["type"]) for each in caught.value.errors()]


@pytest.mark.parametrize(
    "given",
    [[], RESPONSE | {"content": None}, {"call_id": "c", "content": ""}, None],
    ids=str,
)
def test_what_no_tool_would_answer_is_refused(given: Any) -> None:
    with pytest.raises(ValidationError):
        ResumeAgentTurnRequest.model_validate({"tool_responses": given})
