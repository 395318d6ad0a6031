"""How many requests are generated: a few that are the same each time, or many that are not."""

from __future__ import annotations

from functools import partial

from hypothesis import HealthCheck, Phase, settings

_ALL = list(HealthCheck)

SHORT = partial(
    settings,
    phases=[Phase.generate],
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=_ALL,
)
LONG = partial(settings, database=None, deadline=None, print_blob=True, suppress_health_check=_ALL)
