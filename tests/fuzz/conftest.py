"""What the tests with generated requests share, and what they count."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.served import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fuzz.served import Served

type Tally = defaultdict[str, Counter[str]]

TALLY = pytest.StashKey["Tally"]()


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Served]:
    """Return one server for all requests of a module: none may spoil it."""
    async with served() as running:
        yield running


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> Tally:
    """Return what is counted, by binding and version."""
    return request.config.stash.setdefault(TALLY, defaultdict(Counter))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Tell how many requests there were, and what was answered."""
    if not (counted := config.stash.get(TALLY, None)):
        return
    terminalreporter.section("generated requests")
    for name, answers in sorted(counted.items()):
        told = ", ".join(f"{what}: {count}" for what, count in answers.most_common())
        terminalreporter.write_line(f"{name:22} {told}")
