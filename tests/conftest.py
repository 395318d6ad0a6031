"""What every test may use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance import report as conformance
from tests.contract.report import tell_contract
from tests.fakes import server
from tests.fakes.postgres import Postgres, run_postgres
from tests.isolation.report import tell_isolation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

# Tests start programs while gRPC runs in the same process: its handlers of forks would break them.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

SETTINGS_PREFIXES = ("LLAMASTACK_A2A__", "LLAMA_STACK_", "OPENAI_")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what the tests have shown."""
    conformance.pytest_terminal_summary(terminalreporter)
    tell_isolation(terminalreporter)
    tell_contract(terminalreporter)


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run asynchronous tests on plain asyncio."""
    return "asyncio", {"use_uvloop": False}


@pytest.fixture(autouse=True)
def _no_settings_of_ours(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the settings of whoever runs the tests, except from tests of a live server."""
    if request.node.get_closest_marker("live"):
        return
    for name in [name for name in os.environ if name.startswith(SETTINGS_PREFIXES)]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Return a real PostgreSQL server, started when the first test asks for it."""
    with run_postgres() as running:
        yield running


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """Return the SQLAlchemy URL of an empty PostgreSQL database of this test alone."""
    with postgres.database() as url:
        yield url


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the SQLAlchemy URL of an empty database: the test runs once for each kind."""
    if request.param == "memory":
        return "sqlite://"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def run_server() -> Callable[[Any], AbstractAsyncContextManager[str]]:
    """Return ``run_server(app)``: ``async with`` it to serve an ASGI app on a real socket."""
    return server.run_server
