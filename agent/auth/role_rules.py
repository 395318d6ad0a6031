"""Which roles the claims of a token give: LCS's ``role_rules``."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from agent.settings.claim_search import path_finder, pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.settings.access import JwtRoleRule

MATCHED_CHARS = 256
"""Longer claims are not searched for a pattern."""

MATCH_SECONDS = 0.1
"""CPU time that a pattern may take to search what one token says: the event loop waits meanwhile."""

logger = logging.getLogger(__name__)


class RoleRules:
    """All rules; each gives its roles or none."""

    def __init__(self, rules: Iterable[JwtRoleRule]) -> None:
        """Take rules that the settings have checked."""
        self._rules = tuple(map(_Rule, rules))

    def roles(self, claims: dict[str, Any]) -> frozenset[str]:
        """Return the roles of whoever has these claims."""
        return frozenset().union(*(rule.roles for rule in self._rules if rule.applies(claims)))


class _Rule:
    """Compares what a JSONPath finds, which is always a list: of nothing, of one value, or of many."""

    def __init__(self, rule: JwtRoleRule) -> None:
        from jsonpath import JSONPathError  # slow to import, and needed only where there are rules

        self.roles = frozenset(rule.roles)
        self._value = rule.value
        self._negate = rule.negate
        self._find = path_finder(rule.jsonpath)
        self._cannot_tell = (JSONPathError, RecursionError)
        self._pattern = pattern(rule.value) if rule.operator == "match" else None
        self._has_warned = False
        operators: dict[str, Callable[[list[Any]], bool]] = {
            "equals": self._equals,
            "contains": self._contains,
            "in": self._is_in,
            "match": self._matches,
        }
        self._compare = operators[rule.operator]

    def applies(self, claims: dict[str, Any]) -> bool:
        """Whether the roles are given; what cannot be told gives none, negated or not."""
        try:
            found = self._find(claims)
            if self._pattern is not None and any(map(_is_too_long, found)):
                return False
            return self._compare(found) is not self._negate
        except self._cannot_tell:
            return False
        except TimeoutError:
            self._warn()
            return False

    def _warn(self) -> None:
        """Tell once about a pattern that is no good; claims and roles are nobody else's business."""
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "A role rule gives no roles: its pattern takes too long: %s", self._value
            )

    def _equals(self, found: list[Any]) -> bool:
        """LCS compares the whole list; a single value need not be written as one here."""
        return _is_any(found, (self._value, [self._value]))

    def _contains(self, found: list[Any]) -> bool:
        """LCS looks into the list only; here also into lists in it, for a path without ``[*]``."""
        lists = (each for each in found if isinstance(each, list))
        return any(_is_any(self._value, each) for each in (found, *lists))

    def _is_in(self, found: list[Any]) -> bool:
        """LCS looks for the whole list, though its examples say each value; here either will do."""
        return any(_is_any(each, self._value) for each in (found, *found))

    def _matches(self, found: list[Any]) -> bool:
        """As LCS: the pattern is found anywhere in any text."""
        end = time.process_time() + MATCH_SECONDS
        return self._pattern is not None and any(
            self._pattern.search(each, timeout=max(end - time.process_time(), 0.0))
            for each in found
            if isinstance(each, str)
        )


def _is_too_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) > MATCHED_CHARS


def _is_any(value: Any, others: Iterable[Any]) -> bool:
    return any(_is_same(value, each) for each in others)


def _is_same(one: Any, other: Any) -> bool:
    """Compare as JSON: true is not 1, as it is in Python."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    return bool(one == other)
