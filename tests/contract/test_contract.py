"""Each operation is made to answer with each of its statuses, over a real socket."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.contract import answers
from tests.contract.cases import CASES
from tests.contract.operations import Pair, pairs
from tests.contract.report import PROPERTY, table
from tests.contract.servers import Servers
from tests.contract.unreachable import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.contract.case import Case

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    running = Servers(tmp_path_factory.mktemp("contract"))
    yield running
    await running.close()


@pytest.fixture(scope="module")
async def document(servers: Servers) -> dict[str, Any]:
    """Return what a server says of itself."""
    found: dict[str, Any] = (await (await servers.named("plain")).http.get("/openapi.json")).json()
    return found


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_an_operation_answers(
    case: Case,
    servers: Servers,
    document: dict[str, Any],
    record_property: Callable[[str, object], None],
) -> None:
    record_property(PROPERTY, tuple(case.pair))
    server = await servers.named(case.server)
    with anyio.fail_after(20):
        answer = await case.provoke(server)
    answers.check(answer, case.pair, document)


def test_no_pair_is_left_out() -> None:
    shown = {case.pair for case in CASES}
    assert sorted(pairs() - shown - UNREACHABLE.keys()) == []
    # What can be shown is not unreachable, and what is not in the table is nobody's.
    assert sorted(shown & UNREACHABLE.keys()) == []
    assert sorted((shown | UNREACHABLE.keys()) - pairs()) == []
    assert all(UNREACHABLE.values())


def test_no_case_is_there_twice() -> None:
    names = Counter((case.name, case.server) for case in CASES)
    assert [name for name, count in names.items() if count > 1] == []


def test_the_table_tells_what_was_provoked_and_what_was_not() -> None:
    good, bad = {Pair("GET /v1/info", 200)}, {Pair("GET /v1/info", 401)}
    lines = {line.split(" ", 2)[1]: line for line in table(good, bad) if line.startswith("GET ")}
    assert lines["/v1/info"].split()[2:6] == ["+", "?", "!", "?"]
    assert "-" in lines["/v1/models"]
