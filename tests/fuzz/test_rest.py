"""Requests made of the OpenAPI document, by schemathesis: good ones, and ones with something wrong.

JSON-RPC has tests of its own: the document says nothing of what it takes.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import requests
import schemathesis
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import content_type_conformance, not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from agent.app import create_app
from tests.contract.operations import DOCUMENTED, TAKES_A_BODY
from tests.contract.servers import settings_in
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from schemathesis import BaseSchema, Case

    from tests.fuzz.conftest import Tally

EXAMPLES = 10
LONG = 250
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
BY_SCHEMA = [response_schema_conformance]
# What schemathesis makes of LCS's schemas there is not what they mean: secrets that are shown masked are
# for writing only, and a stream is a text. The contract test looks at both.
NOT_BY_SCHEMA = frozenset({"GET /v1/config", "POST /v1/streaming_query"})
MODES = {"good": GenerationMode.POSITIVE, "wrong": GenerationMode.NEGATIVE}
# Nothing but a body can be wrong: any text is an id, and any text is a filter.
ASKED = [
    *((operation, "good") for operation in sorted(DOCUMENTED.keys() - {"POST /a2a"})),
    *((operation, "wrong") for operation in sorted(TAKES_A_BODY - {"POST /a2a"})),
]
KNOWN = ("conversation_id", "provider_id", "rag_id")


class Served(NamedTuple):
    """A server, what it says of itself, and ids of what it has."""

    url: str
    session: requests.Session
    schema: BaseSchema
    ids: dict[str, str]


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[str]:
    """Serve with a stack that answers at once."""
    async with run_server(create_app(settings_in(folder))) as url:
        yield url


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("rest")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving(folder)) as url,
        requests.Session() as session,
    ):
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        yield Served(url, session, schema, _ids(url, session))


def _ids(url: str, session: requests.Session) -> dict[str, str]:
    asked = session.post(f"{url}/v1/query", json={"query": "What does the fox do?"}).json()
    providers = session.get(f"{url}/v1/providers").json()["providers"]
    (rag,) = session.get(f"{url}/v1/rags").json()["rags"]
    provider = providers["inference"][0]["provider_id"]
    return {
        "conversation_id": asked["conversation_id"],
        "provider_id": provider,
        "rag_id": rag,
    }


@pytest.mark.parametrize(("operation", "mode"), ASKED, ids=str)
def test_what_is_answered_is_documented(
    served: Served, operation: str, mode: str, tally: Tally
) -> None:
    """And it is no fault of the server."""
    _ask(served, operation, mode, tally, EXAMPLES)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("operation", "mode"), ASKED, ids=str)
def test_what_is_answered_is_documented_however_often(
    served: Served, operation: str, mode: str, tally: Tally
) -> None:
    _ask(served, operation, mode, tally, LONG)


def _ask(served: Served, operation: str, mode: str, tally: Tally, examples: int) -> None:
    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=_cases(served, operation, MODES[mode]))
    def ask(case: Case[Any]) -> None:
        answer = case.call(base_url=served.url, session=served.session)
        tally[f"REST, {mode}"][str(answer.status_code)] += 1
        leaving_out = answer.status_code == 200 and operation in NOT_BY_SCHEMA
        checks = [each for each in CHECKS if not (leaving_out and each in BY_SCHEMA)]
        case.validate_response(answer, checks=checks)

    ask()


def _cases(served: Served, operation: str, mode: GenerationMode) -> st.SearchStrategy[Case[Any]]:
    """Return the requests; of ids in paths, there is one that is known beside those that are not."""
    method, _, path = operation.partition(" ")
    described: Any = served.schema[path][method]
    made: st.SearchStrategy[Case[Any]] = described.as_strategy(generation_mode=mode)
    names = [name for name in KNOWN if f"{{{name}}}" in path]
    if not names:
        return made
    known = {name: served.ids[name] for name in names}
    there: st.SearchStrategy[Case[Any]] = described.as_strategy(
        generation_mode=mode, path_parameters=known
    )
    return made | there
