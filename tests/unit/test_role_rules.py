"""Which roles the claims of a token give."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import ValidationError

from agent.auth.role_rules import MATCHED_CHARS, RoleRules
from agent.settings.access import JwtRoleRule

CLAIMS = {
    "sub": "ann",
    "email": "ann@acme.example",
    "email_verified": True,
    "org_id": "acme",
    "teams": ["red", "blue"],
    "realm_access": {"roles": ["manager", "reader"]},
    "https://acme.example/roles": ["auditor"],
    "a.b": "dotted",
    "level": 7,
    "beta": 1,
    "marks": [1, [0], {"a": 1}],
    "flags": [True, [False], {"a": True}],
}


def rule(path: str, operator: str, value: Any, **more: Any) -> JwtRoleRule:
    """Return a rule as the settings read it."""
    content = {"jsonpath": path, "operator": operator, "value": value, "roles": ["r"]}
    return JwtRoleRule.model_validate(content | more)


def applies(path: str, operator: str, value: Any, **more: Any) -> bool:
    """Whether a rule gives its role to whoever has the claims."""
    return bool(RoleRules([rule(path, operator, value, **more)]).roles(CLAIMS))


@pytest.mark.parametrize(
    ("path", "operator", "value"),
    [
        ("$.org_id", "equals", ["acme"]),
        ("$.org_id", "equals", "acme"),
        ("$.teams", "equals", [["red", "blue"]]),
        ("$.teams[*]", "equals", ["red", "blue"]),
        ("$.missing", "equals", []),
        ("$.level", "equals", 7),
        ("$.email_verified", "equals", True),
        ("$.level", "equals", 7.0),
        ("$.marks", "contains", {"a": 1}),
        ("$.marks[?@ == 1]", "equals", 1),
        ("$.flags", "equals", [True, [False], {"a": True}]),
        ("$.realm_access.roles[*]", "contains", "manager"),
        ("$.realm_access.roles", "contains", "manager"),
        ("$.realm_access.roles", "contains", ["manager", "reader"]),
        ("$['https://acme.example/roles'][*]", "contains", "auditor"),
        ("$['a.b']", "contains", "dotted"),
        ("$.teams[*]", "in", ["blue", "green"]),
        ("$.teams[*]", "in", [["red", "blue"]]),
        ("$.org_id", "in", [["acme"]]),
        ("$.org_id", "in", ["acme", "other"]),
        ("$.email", "match", r"@acme\.example$"),
        ("$.teams[*]", "match", "^blue$"),
        ("$..roles[*]", "contains", "reader"),
        ("$.realm_access.roles[?@ == 'reader']", "contains", "reader"),
    ],
)
def test_a_rule_applies(path: str, operator: str, value: Any) -> None:
    """And does not when negated."""
    assert applies(path, operator, value)
    assert not applies(path, operator, value, negate=True)


@pytest.mark.parametrize(
    ("path", "operator", "value"),
    [
        ("$.org_id", "equals", "ACME"),
        ("$.org_id", "equals", ["acme", "other"]),
        ("$.teams[*]", "equals", ["blue", "red"]),
        ("$.teams[*]", "equals", "red"),
        ("$.missing", "equals", None),
        ("$.level", "equals", "7"),
        ("$.org_id", "contains", "acm"),
        ("$.email", "contains", "acme.example"),
        ("$.missing", "contains", "x"),
        ("$.teams[*]", "in", ["green"]),
        ("$.teams[*]", "in", [["blue", "red"]]),
        ("$.missing", "in", ["acme"]),
        ("$.email", "match", r"^acme"),
        ("$.teams", "match", "blue"),
        ("$.level", "match", "7"),
        ("$.missing", "match", ".*"),
        ("$.a.b", "equals", "dotted"),
        ("$.email_verified", "equals", 1),
        ("$.email_verified", "in", [1]),
        ("$.email_verified", "in", [[1]]),
        ("$.beta", "equals", True),
        ("$.beta", "contains", True),
        ("$.beta", "in", [True]),
        ("$.marks", "contains", True),
        ("$.marks", "equals", [True, [False], {"a": True}]),
        ("$.flags", "contains", {"a": 1}),
        ("$.flags", "contains", [0]),
    ],
)
def test_a_rule_does_not_apply(path: str, operator: str, value: Any) -> None:
    """And does when negated: also to whoever lacks the claim."""
    assert not applies(path, operator, value)
    assert applies(path, operator, value, negate=True)


@pytest.mark.parametrize("negate", [False, True], ids=["plain", "negated"])
def test_what_is_too_long_to_search_gives_no_role_either_way(*, negate: bool) -> None:
    """Nobody gets past a negated rule by having a long name."""
    rules = RoleRules([rule("$.name", "match", "a", negate=negate)])

    assert bool(rules.roles({"name": "a" * MATCHED_CHARS})) is not negate
    assert not rules.roles({"name": "a" * (MATCHED_CHARS + 1)})


@pytest.mark.parametrize("negate", [False, True], ids=["plain", "negated"])
def test_claims_that_cannot_be_searched_give_no_role_either_way(*, negate: bool) -> None:
    deep: dict[str, Any] = {}
    for _ in range(2000):
        deep = {"a": deep}

    assert not RoleRules([rule("$..a", "contains", 1, negate=negate)]).roles(deep)


SLOW = r"^(\w|[a-z])*$"
"""Doubles its time with each character of a text that it does not match."""


@pytest.mark.parametrize("negate", [False, True], ids=["plain", "negated"])
@pytest.mark.parametrize("many", [1, 500])
def test_a_pattern_that_takes_too_long_gives_no_role_and_is_told_once(
    many: int, caplog: pytest.LogCaptureFixture, *, negate: bool
) -> None:
    """However many values it is to search; who chooses a name must not choose how long."""
    slow = rule("$.names[*]", "match", SLOW, negate=negate)
    rules = RoleRules([slow, rule("$.sub", "equals", "ann", roles=["other"])])

    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert rules.roles({"names": ["a" * 60 + "!"] * many, "sub": "ann"}) == {"other"}

    (told,) = caplog.messages
    assert SLOW in told
    assert "aaa" not in told


def test_all_rules_that_apply_give_their_roles() -> None:
    rules = [
        rule("$.org_id", "equals", "acme", roles=["employee", "reader"]),
        rule("$.teams[*]", "contains", "red", roles=["reader", "red"]),
        rule("$.teams[*]", "contains", "green", roles=["green"]),
    ]

    assert RoleRules(rules).roles(CLAIMS) == {"employee", "reader", "red"}
    assert RoleRules([]).roles(CLAIMS) == frozenset()


@pytest.mark.parametrize(
    "path",
    [
        "$[",
        "$.a[?",
        "/a",
        "$.a[?nope(@)]",
        "$.a[?@ =~ /(/]",
        f"$.a[{9**40}]",
        "$.a[?match(@, '(a|a)*')]",
        "$.a[?search(@, '(a|a)*$')]",
        "$.a[?@.b && @ =~ /(a|a)*$/]",
    ],
)
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="must be a JSONPath expression"):
        rule(path, "equals", "x")
