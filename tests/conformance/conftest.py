"""What the conformance tests share, and what they tell the report."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.conformance.client import serving
from tests.conformance.report import PROPERTY
from tests.conformance.shown import MARK, shown_by_item
from tests.conformance.wires import FIXTURES
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conformance.client import Client
    from tests.conformance.wire import Wire


def _fixture(name: str) -> object:
    wires = FIXTURES[name]

    @pytest.fixture(name=name, params=wires, ids=[wire.name for wire in wires], scope="session")
    def each(request: pytest.FixtureRequest) -> Wire:
        wire: Wire = request.param
        return wire

    return each


wire = _fixture("wire")
json_wire = _fixture("json_wire")
rpc = _fixture("rpc")
rest = _fixture("rest")
latest = _fixture("latest")
latest_json = _fixture("latest_json")


@pytest.fixture(scope="session")
async def _running() -> AsyncIterator[dict[Wire, Client]]:
    async with AsyncExitStack() as opened:
        yield {
            wire: await opened.enter_async_context(serving(Script(ANSWER), wire))
            for wire in FIXTURES["wire"]
        }


@pytest.fixture
def answering(_running: dict[Wire, Client]) -> dict[Wire, Client]:
    """Return a client for each wire, of servers that answer "yes"; they are there for all tests.

    That is for tests of which none can tell what the others did.
    """
    for client in _running.values():
        client.script.requests.clear()
    return _running


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", f"{MARK}(*ids, on=None): what of the specifications a test shows"
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let the reports of a test tell what it shows."""
    if item.get_closest_marker(MARK):
        item.user_properties += [(PROPERTY, shown) for shown in sorted(shown_by_item(item))]
