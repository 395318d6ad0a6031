"""What a turn of the agents API wants otherwise than its agent."""

from __future__ import annotations

from agent.agents.base import NewTurn
from agent.agents.own_turns import _options
from agent.stacks import ToolGroup

MESSAGES = ({"role": "user", "content": "hello"},)


def test_tool_groups_of_a_turn_take_the_place_of_the_agents() -> None:
    turn = NewTurn(
        messages=MESSAGES, toolgroups=("builtin::rag", {"name": "mcp::x", "args": {"a": 1}})
    )

    assert _options(turn).toolgroups == (ToolGroup("builtin::rag"), ToolGroup("mcp::x", {"a": 1}))


def test_no_tool_groups_stand_for_the_agents_own_as_in_llama_stack() -> None:
    assert _options(NewTurn(messages=MESSAGES, toolgroups=())).toolgroups is None
    assert _options(NewTurn(messages=MESSAGES)).toolgroups is None
