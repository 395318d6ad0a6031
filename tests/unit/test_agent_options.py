"""What a stack is told of an agent that a caller has made."""

from __future__ import annotations

from typing import Any

from a2a_state.agents import Agent
from agent.agent_options import options_of, within_rules
from agent.agents.agent_config import with_defaults
from agent.settings import Settings
from agent.stacks import AgentOptions, Sampling

GIVEN: dict[str, Any] = {
    "model": "m",
    "instructions": "Be loud.",
    "input_shields": ["mine", "guard"],
}


def options(**config: Any) -> AgentOptions:
    """Return what is told of an agent that is made like this."""
    return options_of(Agent("a", "ann", "", with_defaults(GIVEN | config), 0))[0]


def rules(**customization: Any) -> Settings:
    """Return settings with shields, a prompt, and what callers may not choose."""
    agent = {"input_shields": ["guard"], "output_shields": ["out"], "instructions": "Be kind."}
    return Settings.model_validate({"agent": agent, "customization": customization})


def test_the_defaults_of_the_api_are_left_to_the_server() -> None:
    assert options().sampling == Sampling()
    assert options(sampling_params={"repetition_penalty": 1.2}).sampling.repetition_penalty == 1.2


def test_an_agent_is_what_its_maker_says_where_callers_may_choose() -> None:
    assert within_rules(options(), rules()) == options()


def test_the_shields_of_the_settings_come_first_where_callers_may_not_choose_them() -> None:
    agent = within_rules(options(), rules(disable_shield_ids_override=True))
    assert (agent.input_shields, agent.output_shields) == (("guard", "mine"), ("out",))
    assert agent.instructions == "Be loud."


def test_a_prompt_adds_to_that_of_the_settings_where_callers_may_not_choose_it() -> None:
    agent = within_rules(options(), rules(disable_query_system_prompt=True))
    assert agent.instructions == "Be kind.\n\nBe loud."
    assert agent.input_shields == ("mine", "guard")
