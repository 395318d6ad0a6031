"""What is said at the end about the requirements: a hook that the outermost conftest has to have.

Where tests run in several processes, the one that reports has collected none and knows no other conftest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance._requirements import ROWS
from tests.conformance._requirements.row import SURFACES

if TYPE_CHECKING:
    import pytest

    type Shown = tuple[str, ...]
    """The id of a requirement, and a surface."""

VERSIONS = {"1.0": "A2A 1.0", "0.3": "A2A 0.3", "rpc": "JSON-RPC 2.0"}
PROPERTY = "requirement"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how many requirements were shown to be met, by version and where."""
    good = _shown(terminalreporter, "passed")
    bad = _shown(terminalreporter, "failed", "error", "xfailed")
    if not good | bad:
        return
    terminalreporter.section("conformance")
    for version, name in VERSIONS.items():
        rows = [row for row in ROWS if row.version == version]
        for surface in SURFACES:
            if asked := [row for row in rows if surface in row.surfaces]:
                gaps = [row for row in asked if row.gap]
                met = [r for r in asked if not r.gap and (r.id, surface) in good - bad]
                deviating = [row for row in asked if row.deviation]
                terminalreporter.write_line(
                    f"{name:12} {surface:10} {len(met):3} of {len(asked):3} requirements met"
                    f"{_told(len(gaps), 'gap')}{_told(len(deviating), 'deliberate deviation')}"
                )


def _told(count: int, what: str) -> str:
    return f", {count} {what}{'s' * (count != 1)}" if count else ""


def _shown(reporter: pytest.TerminalReporter, *outcomes: str) -> set[Shown]:
    reports = [report for outcome in outcomes for report in reporter.stats.get(outcome, ())]
    return {
        tuple(value)
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == PROPERTY
    }
