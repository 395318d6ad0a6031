"""The table of the contract that is printed at the end: a hook that the outermost conftest has to have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.contract.operations import DOCUMENTED, Pair, pairs
from tests.contract.unreachable import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

PROPERTY = "contract"


def tell_contract(reporter: pytest.TerminalReporter) -> None:
    """Print for each operation and status whether it was seen."""
    good, bad = _shown(reporter, "passed"), _shown(reporter, "failed", "error")
    if not good | bad:
        return
    reporter.section("contract of the REST API")
    for line in table(good, bad):
        reporter.write_line(line)


def table(good: set[Pair], bad: set[Pair]) -> Iterator[str]:
    """Yield the lines: ``+`` provoked, ``!`` failed, ``-`` unreachable, ``?`` not tried."""
    known = pairs()
    statuses = sorted({pair.status for pair in known})
    yield f"{'operation':42}" + "".join(f"{status:>5}" for status in statuses)
    for operation in DOCUMENTED:
        signs = [_sign(Pair(operation, status), good, bad, known) for status in statuses]
        yield f"{operation:42}" + "".join(f"{sign:>5}" for sign in signs)
    met, left_out = len((good - bad) & known), len(UNREACHABLE.keys() & known)
    yield f"{met} of {len(known)} pairs provoked, {left_out} unreachable (tests/contract/unreachable.py)"


def _sign(pair: Pair, good: set[Pair], bad: set[Pair], known: set[Pair]) -> str:
    if pair in bad:
        return "!"
    if pair in good:
        return "+"
    if pair in UNREACHABLE:
        return "-"
    return "?" if pair in known else ""


def _shown(reporter: pytest.TerminalReporter, *outcomes: str) -> set[Pair]:
    return {
        Pair(*value)
        for outcome in outcomes
        for report in reporter.stats.get(outcome, ())
        for name, value in getattr(report, "user_properties", ())
        if name == PROPERTY
    }
