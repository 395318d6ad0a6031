"""Requests made of the document of Llama Stack's experimental API, by schemathesis: see ``test_rest``."""

from __future__ import annotations

import uuid
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
from rest_compat.llama_stack.app import OPENAPI
from tests.contract.llama_stack_operations import OPERATIONS
from tests.contract.servers import settings_in
from tests.fakes.server import run_server
from tests.fuzz.checks import strict
from tests.isolation.routes import parts_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from schemathesis import BaseSchema, Case
    from schemathesis.core.transport import Response

    from tests.fuzz.conftest import Tally

EXAMPLES = 5
LONG = 250
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
MODES = {"good": GenerationMode.POSITIVE, "wrong": GenerationMode.NEGATIVE}
# Any text is an id: nothing else than bodies and queries can be wrong.
ASKED = [
    *((operation, "good") for operation in OPERATIONS),
    *((operation, "wrong") for operation in OPERATIONS if operation.startswith("POST ")),
]
# Ids that there are not, or that cannot be any.
ODD = (str(uuid.UUID(int=0)), "a\0\u202eb")
CONFIG = {"model": "extractive", "instructions": "Be brief."}


class Served(NamedTuple):
    """A server, what it says of itself, and ids of what it has."""

    url: str
    session: requests.Session
    schema: BaseSchema
    document: Any
    ids: dict[str, str]


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[str]:
    """Serve with a stack that answers at once, and take jobs of training that nobody runs."""
    app = create_app(settings_in(folder))
    async with run_server(app) as url:
        training: Any = parts_of(app).experimental.training
        training._command = ("never started",)
        yield url


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("llama-stack")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving(folder)) as url,
        requests.Session() as session,
    ):
        schema = schemathesis.openapi.from_url(f"{url}{OPENAPI}")
        document = session.get(f"{url}{OPENAPI}").json()
        yield Served(url, session, schema, document, _ids(url, session))


def _ids(url: str, session: requests.Session) -> dict[str, str]:
    """Make one of everything."""

    def made(path: str, **body: Any) -> Any:
        answer = session.post(f"{url}{path}", json=body)
        answer.raise_for_status()
        return answer.json()

    agents = "/v1alpha/agents"
    agent = made(agents, agent_config=CONFIG)["agent_id"]
    begun = made(f"{agents}/{agent}/session", session_name="s")["session_id"]
    said = [{"role": "user", "content": "What does the fox do?"}]
    turn = made(f"{agents}/{agent}/session/{begun}/turn", messages=said)
    row = {"input_query": "fox", "expected_answer": "jumps"}
    source = {"type": "rows", "rows": [row]}
    made("/v1beta/datasets", purpose="eval/question-answer", source=source, dataset_id="rows")
    benchmarks = "/v1alpha/eval/benchmarks"
    scored = {"dataset_id": "rows", "scoring_functions": ["basic::equality"]}
    made(benchmarks, benchmark_id="benchmark", **scored)
    candidate = {"type": "model", "model": "extractive"}
    config = {"eval_candidate": candidate, "scoring_params": {}}
    job = made(f"{benchmarks}/benchmark/jobs", benchmark_config=config)
    return {
        "agent_id": agent,
        "session_id": begun,
        "turn_id": turn["turn_id"],
        "step_id": turn["steps"][0]["step_id"],
        "dataset_id": "rows",
        "benchmark_id": "benchmark",
        "job_id": job["job_id"],
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
    method, _, path = operation.partition(" ")
    # "default" stands for all others.
    described = served.document["paths"][path][method.lower()]["responses"].keys() - {"default"}

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
        tally[f"Llama Stack, {mode}"][str(answer.status_code)] += 1
        assert str(answer.status_code) in described, answer.text
        case.validate_response(answer, checks=CHECKS)
        _check_is_json(answer)

    ask()


def _check_is_json(answer: Response) -> None:
    """Whatever is answered is JSON, each event of a stream too."""
    if answer.status_code == 204:
        assert answer.content == b""
        return
    (content_type,) = answer.headers["content-type"]
    if content_type.startswith("text/event-stream"):
        frames = answer.content.decode().removesuffix("\n\n").split("\n\n")
        texts = [frame.removeprefix("data: ") for frame in frames if not frame.startswith(":")]
        assert answer.status_code == 200
        assert texts
    else:
        assert content_type == "application/json"
        texts = [answer.text]
    for text in texts:
        strict(text)


def _cases(served: Served, operation: str, mode: GenerationMode) -> st.SearchStrategy[Case[Any]]:
    """Return the requests; of ids in paths, there are those that are known beside those that are not."""
    method, _, path = operation.partition(" ")
    described: Any = served.schema[path][method]
    named = [name for name in served.ids if f"{{{name}}}" in path]
    if not named:
        alone: st.SearchStrategy[Case[Any]] = described.as_strategy(generation_mode=mode)
        return alone
    # What is there is not deleted: the other operations have something to ask for.
    known = [] if method == "DELETE" else [{name: served.ids[name] for name in named}]
    odd = [dict.fromkeys(named, each) for each in ODD]
    made = [
        described.as_strategy(generation_mode=mode, path_parameters=each) for each in known + odd
    ]
    return st.one_of(*made)
