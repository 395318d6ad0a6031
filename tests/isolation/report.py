"""What is said at the end about isolation: a hook that the outermost conftest has to have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

PROPERTY = "isolation"


def tell_isolation(reporter: pytest.TerminalReporter) -> None:
    """Tell how many operations there are, and what was asked of them."""
    for report in reporter.stats.get("passed", ()):
        for name, value in getattr(report, "user_properties", ()):
            if name == PROPERTY:
                operations, kinds, cases = value
                reporter.section("isolation")
                reporter.write_line(
                    f"isolation: {operations} operations, {kinds} id kinds, {cases} cases"
                )
