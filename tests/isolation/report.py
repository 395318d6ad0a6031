"""What is said at the end about isolation: a hook that the outermost conftest has to have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

PROPERTY = "isolation"
EXPERIMENTAL = "isolation of the experimental API"


def tell_isolation(reporter: pytest.TerminalReporter) -> None:
    """Tell how many operations there are, and what was asked of them."""
    told = [
        (name, value)
        for report in reporter.stats.get("passed", ())
        for name, value in getattr(report, "user_properties", ())
        if name in {PROPERTY, EXPERIMENTAL}
    ]
    if told:
        reporter.section("isolation")
    for name, (operations, kinds, cases) in told:
        reporter.write_line(f"{name}: {operations} operations, {kinds} id kinds, {cases} cases")
