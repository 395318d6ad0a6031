"""What an agent may be made of."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from rest_compat.llama_stack.agents_config import AgentConfig, CreateAgentRequest

LEAST: dict[str, Any] = {"model": "m", "instructions": "Be kind."}
DEEP: dict[str, Any] = {"a": {"b": [1, 2.5, None, True, "x"]}}


def config(**given: Any) -> dict[str, Any]:
    return AgentConfig.model_validate(LEAST | given).model_dump(mode="json")


def errors(given: dict[str, Any]) -> list[tuple[tuple[int | str, ...], str]]:
    with pytest.raises(ValidationError) as caught:
        CreateAgentRequest.model_validate(given)
    return [(each["loc"], each["type"]) for each in caught.value.errors()]


def test_what_is_not_said_has_the_defaults_of_the_api() -> None:
    assert config() == {
        "sampling_params": {
            "strategy": {"type": "greedy"},
            "max_tokens": 0,
            "repetition_penalty": 1.0,
            "stop": None,
        },
        "input_shields": [],
        "output_shields": [],
        "toolgroups": [],
        "client_tools": [],
        "tool_choice": None,
        "tool_prompt_format": None,
        "tool_config": {
            "tool_choice": "auto",
            "tool_prompt_format": None,
            "system_message_behavior": "append",
        },
        "max_infer_iters": 10,
        "model": "m",
        "instructions": "Be kind.",
        "name": None,
        "enable_session_persistence": False,
        "response_format": None,
    }


def nested(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(levels - 1):
        made = {"a": made}
    return made


WHOLE: dict[str, Any] = {
    "sampling_params": {
        "strategy": {"type": "top_p", "temperature": 0.5, "top_p": 0.9},
        "max_tokens": 20,
        "repetition_penalty": 1.5,
        "stop": ["#"],
    },
    "input_shields": ["guard"],
    "output_shields": None,
    "toolgroups": ["mcp::a", {"name": "mcp::b", "args": DEEP}],
    "client_tools": [
        {
            "toolgroup_id": None,
            "name": "weather",
            "description": "Of a city",
            "input_schema": {"type": "object"},
            "output_schema": None,
            "metadata": DEEP,
        }
    ],
    "tool_config": {
        "tool_choice": "weather",
        "tool_prompt_format": "python_list",
        "system_message_behavior": "replace",
    },
    "max_infer_iters": 1,
    "name": "n",
    "enable_session_persistence": True,
    "response_format": {"type": "grammar", "bnf": DEEP},
}


def test_what_is_said_is_kept_and_what_is_unknown_is_not() -> None:
    kept = config(**WHOLE, nonsense=1)
    assert {name: kept[name] for name in WHOLE} == WHOLE
    assert "nonsense" not in kept


@pytest.mark.parametrize("nothing", ["sampling_params", "toolgroups", "client_tools", "name"])
def test_null_is_taken_where_the_api_takes_it(nothing: str) -> None:
    assert config(**{nothing: None})[nothing] is None


def test_the_old_fields_are_those_of_the_tool_config() -> None:
    made = config(tool_choice="required", tool_prompt_format="json")
    assert made["tool_config"]["tool_choice"] == "required"
    assert made["tool_config"]["tool_prompt_format"] == "json"
    with pytest.raises(ValidationError, match="tool_choice is deprecated"):
        config(tool_choice="required", tool_config={"tool_choice": "none"})
    same = {"tool_choice": "none"}
    assert config(tool_choice="none", tool_config=same)["tool_config"]["tool_choice"] == "none"


def test_a_configuration_by_itself_is_one_that_is_wrapped() -> None:
    wrapped = CreateAgentRequest.model_validate({"agent_config": LEAST})
    assert CreateAgentRequest.model_validate(LEAST) == wrapped
    assert CreateAgentRequest.model_validate({"model": "other", "agent_config": LEAST}) == wrapped


@pytest.mark.parametrize(
    ("given", "where", "kind"),
    [
        ({"sampling_params": {"strategy": {"type": "top_p"}}}, "temperature", "missing"),
        (
            {"sampling_params": {"strategy": {"type": "top_p", "temperature": 0}}},
            "temperature",
            "greater_than",
        ),
        (
            {"sampling_params": {"strategy": {"type": "top_p", "temperature": float("inf")}}},
            "temperature",
            "finite_number",
        ),
        ({"sampling_params": {"strategy": {"type": "top_k"}}}, "top_k", "missing"),
        ({"sampling_params": {"strategy": {"type": "beam"}}}, "strategy", "union_tag_invalid"),
        ({"sampling_params": {"max_tokens": -1}}, "max_tokens", "greater_than_equal"),
        ({"sampling_params": {"max_tokens": 10**30}}, "max_tokens", "less_than_equal"),
        ({"sampling_params": {"stop": ["."] * 17}}, "stop", "too_long"),
        ({"tool_choice": "weather"}, "tool_choice", "literal_error"),
        ({"tool_config": {"tool_prompt_format": "xml"}}, "tool_prompt_format", "literal_error"),
        (
            {"tool_config": {"system_message_behavior": "drop"}},
            "system_message_behavior",
            "literal_error",
        ),
        ({"toolgroups": [{"name": "mcp::a"}]}, "args", "missing"),
        ({"toolgroups": ["t"] * 257}, "toolgroups", "too_long"),
        ({"client_tools": [{"description": "nameless"}]}, "name", "missing"),
        (
            {"client_tools": [{"name": "t", "input_schema": {"a": float("nan")}}]},
            "input_schema",
            "value_error",
        ),
        ({"client_tools": [{"name": "t", "metadata": {"a": "\ud800"}}]}, "metadata", "value_error"),
        ({"client_tools": [{"name": "t", "metadata": nested(101)}]}, "metadata", "value_error"),
        ({"response_format": {"type": "xml"}}, "response_format", "union_tag_invalid"),
        ({"response_format": {"type": "json_schema"}}, "json_schema", "missing"),
        ({"max_infer_iters": 0}, "max_infer_iters", "greater_than_equal"),
        ({"max_infer_iters": 1001}, "max_infer_iters", "less_than_equal"),
        ({"model": ""}, "model", "string_too_short"),
        ({"model": None}, "model", "string_type"),
        ({"instructions": 5}, "instructions", "string_type"),
        ({"name": "n" * 257}, "name", "string_too_long"),
        ({"input_shields": "guard"}, "input_shields", "list_type"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_what_makes_no_agent_is_refused(given: dict[str, Any], where: str, kind: str) -> None:
    found = errors({"agent_config": LEAST | given})
    assert (where, kind) in [(loc[-1], each) for loc, each in found]
    assert all(loc[0] == "agent_config" for loc, _ in found)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, ("agent_config",)),
        ({"agent_config": {"model": "m"}}, ("agent_config", "instructions")),
        ({"model": "m"}, ("agent_config", "instructions")),
        ({"instructions": ""}, ("agent_config", "model")),
    ],
    ids=str,
)
def test_an_agent_needs_a_model_and_instructions(given: Any, missing: tuple[str, ...]) -> None:
    assert errors(given) == [(missing, "missing")]
