"""What the conformance tests share, and what is said about them at the end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.conformance._requirements import REQUIREMENTS
from tests.conformance.wire import V0_3, V1_0

if TYPE_CHECKING:
    from tests.conformance.wire import Wire

VERSIONS = {"1.0": "A2A 1.0", "0.3": "A2A 0.3", "rpc": "JSON-RPC 2.0"}
PROPERTY = "requirement"


@pytest.fixture(params=[V1_0, V0_3], ids=["1.0", "0.3"])
def wire(request: pytest.FixtureRequest) -> Wire:
    """Return each version of A2A: the test runs once for both."""
    wire: Wire = request.param
    return wire


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "requirement(*ids): what of the specifications a test shows")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let the reports of a test tell which requirements it shows."""
    for mark in item.iter_markers("requirement"):
        item.user_properties += [(PROPERTY, requirement_id) for requirement_id in mark.args]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how many requirements of each version were shown to be met."""
    seen, broken = (
        _ids(terminalreporter, "passed"),
        _ids(terminalreporter, "failed", "error", "xfailed"),
    )
    if not seen | broken:
        return
    asked = Counter(row.version for row in REQUIREMENTS.values())
    deviating = Counter(row.version for row in REQUIREMENTS.values() if row.deviation)
    met = Counter(REQUIREMENTS[row].version for row in seen - broken)
    terminalreporter.section("conformance")
    for version, name in VERSIONS.items():
        terminalreporter.write_line(
            f"{name}: {met[version]} of {asked[version]} requirements shown "
            f"({deviating[version]} deliberate deviations)"
        )


def _ids(reporter: pytest.TerminalReporter, *outcomes: str) -> set[str]:
    reports = [report for outcome in outcomes for report in reporter.stats.get(outcome, ())]
    return {
        value
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == PROPERTY and value in REQUIREMENTS
    }
