"""All cases of the contract."""

from __future__ import annotations

from tests.contract import (
    cases_access,
    cases_catalogue,
    cases_conversations,
    cases_health,
    cases_queries,
)

_MODULES = (cases_access, cases_catalogue, cases_conversations, cases_health, cases_queries)
CASES = [case for module in _MODULES for case in module.cases.all]
