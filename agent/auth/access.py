"""What callers may do: LCS's roles and actions, decided here for every surface."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from agent.errors import PermissionDenied
from agent.settings.access import Action

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.caller import Caller
    from agent.settings.access import AccessRule

EVERYBODY = "*"
ADMIN = "admin"
ACTIONS: frozenset[str] = frozenset(get_args(Action.__value__))
"""LCS's ``Action``."""

ON_OTHERS = frozenset(name for name in ACTIONS if name.endswith("_other_conversations"))
WITHOUT_RULES = ACTIONS - ON_OTHERS - {ADMIN}
"""What everybody may do where no rules say otherwise: everything, on what is their own."""

_SAY = frozenset({"a2a_jsonrpc", "a2a_message"})
_TASKS = frozenset({"a2a_jsonrpc", "a2a_task_execution"})
NEEDED: Mapping[str, frozenset[str]] = {
    "send": _SAY,
    "stream": _SAY,
    "get": _TASKS,
    "list": _TASKS,
    "cancel": _TASKS,
    "subscribe": _TASKS,
    "create_push_config": _TASKS,
    "get_push_config": _TASKS,
    "list_push_configs": _TASKS,
    "delete_push_config": _TASKS,
    "delete": _TASKS,
    "delete_context": _TASKS,
    "extended_card": frozenset({"a2a_jsonrpc", "a2a_agent_card"}),
}
"""The actions of which one allows an operation of A2A, on whatever binding."""


class Access:
    """The access rules of the settings."""

    def __init__(self, rules: Iterable[AccessRule]) -> None:
        """Without rules everybody may do everything with what is their own."""
        self._actions: dict[str, frozenset[str]] = {}
        for rule in rules:
            known = self._actions.get(rule.role, frozenset())
            self._actions[rule.role] = known | frozenset(rule.actions)
        if not self._actions:
            self._actions[EVERYBODY] = WITHOUT_RULES
        self._everybodys = self._granted(self._actions.get(EVERYBODY, frozenset()))

    def actions(self, roles: frozenset[str]) -> frozenset[str]:
        """Return what somebody with these roles may do, beside what everybody may."""
        if not roles:
            return self._everybodys
        granted = (self._actions.get(role, frozenset()) for role in roles)
        return self._granted(self._everybodys.union(*granted))

    @staticmethod
    def _granted(actions: frozenset[str]) -> frozenset[str]:
        return ACTIONS if ADMIN in actions else actions


def check(caller: Caller, needed: frozenset[str]) -> None:
    """Raise ``PermissionDenied`` unless the caller may take one of the actions."""
    if caller.actions.isdisjoint(needed):
        raise PermissionDenied(f"User {caller.user_id} is not authorized to access this endpoint.")
