"""Roles, actions, and what they allow."""

from __future__ import annotations

from typing import Any

import pytest

from agent.auth.access import ACTIONS, NEEDED, ON_OTHERS, WITHOUT_RULES, Access, check
from agent.caller import Caller
from agent.errors import PermissionDenied
from agent.operations import Operations
from agent.settings import Settings

NOBODY: frozenset[str] = frozenset()


def access(*rules: dict[str, Any]) -> Access:
    """Return the rules of a configuration file."""
    settings = Settings.model_validate({"authorization": {"access_rules": rules}})
    assert settings.authorization is not None
    return Access(settings.authorization.access_rules)


def test_there_are_the_28_actions_of_lcs_and_five_for_llama_stacks_api() -> None:
    ours = {"agents", "datasets", "eval", "rerank", "post_training"}

    assert ours < ACTIONS
    assert len(ACTIONS - ours) == 28


def test_without_rules_everybody_may_do_everything_with_what_is_their_own() -> None:
    allowed = access().actions(NOBODY)

    assert allowed == WITHOUT_RULES
    assert allowed.isdisjoint(ON_OTHERS)
    assert "admin" not in allowed
    assert {"a2a_jsonrpc", "query", "model_override", "get_config"} <= allowed
    assert access().actions(frozenset({"somebody"})) == allowed


def test_with_rules_nothing_is_allowed_that_no_rule_allows() -> None:
    rules = access({"role": "reader", "actions": ["get_models"]})

    assert rules.actions(NOBODY) == frozenset()
    assert rules.actions(frozenset({"unknown"})) == frozenset()
    assert rules.actions(frozenset({"reader"})) == {"get_models"}


def test_everybody_has_the_role_of_everybody() -> None:
    rules = access({"role": "*", "actions": ["INFO"]}, {"role": "dev", "actions": ["query"]})

    assert rules.actions(NOBODY) == {"info"}
    assert rules.actions(frozenset({"dev"})) == {"info", "query"}


def test_rules_of_one_role_and_of_several_roles_add_up() -> None:
    rules = access(
        {"role": "a", "actions": ["info"]},
        {"role": "a", "actions": ["query"]},
        {"role": "b", "actions": ["feedback"]},
    )

    assert rules.actions(frozenset({"a", "b"})) == {"info", "query", "feedback"}


def test_an_admin_may_do_everything_also_with_what_belongs_to_others() -> None:
    rules = access({"role": "boss", "actions": ["admin"]})

    assert rules.actions(frozenset({"boss"})) == ACTIONS
    assert access({"role": "*", "actions": ["admin"]}).actions(NOBODY) == ACTIONS


def test_a_rule_without_actions_closes_what_no_rule_opens() -> None:
    assert access({"role": "*", "actions": []}).actions(NOBODY) == frozenset()


def test_every_operation_needs_an_action() -> None:
    """And a2a_jsonrpc, which is all that LCS asks for, allows every one of them."""
    nothing: Any = None
    operations = Operations(nothing, nothing, nothing)
    served = operations.unary.keys() | operations.ours.keys() | operations.streaming.keys()

    assert NEEDED.keys() == served
    assert all("a2a_jsonrpc" in needed <= ACTIONS for needed in NEEDED.values())


@pytest.mark.parametrize(
    ("action", "allowed"),
    [
        ("a2a_message", {"send", "stream"}),
        ("a2a_agent_card", {"extended_card"}),
        ("query", set()),
    ],
)
def test_the_finer_actions_allow_a_part(action: str, allowed: set[str]) -> None:
    assert {name for name, needed in NEEDED.items() if action in needed} == allowed


def test_who_may_not_is_told_so_by_name() -> None:
    caller = Caller("ann", actions=frozenset({"info"}))

    check(caller, frozenset({"info", "query"}))
    with pytest.raises(PermissionDenied) as refused:
        check(caller, frozenset({"query"}))
    assert refused.value.cause == "User ann is not authorized to access this endpoint."
    assert refused.value.response == "User does not have permission to access this endpoint"


def test_who_acts_for_another_stays_who_they_are() -> None:
    caller = Caller("ann", "acme").acting_for("bob")

    assert (caller.owner, caller.tenant, caller.user_id) == ("bob", "acme", "ann")
    assert caller.acting_for("eve").user_id == "ann"
