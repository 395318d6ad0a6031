"""Llama Stack's experimental API: every operation, in both shapes, on the embedded stack."""

from __future__ import annotations

from collections.abc import Iterator  # noqa: TC003 - pytest resolves what fixtures return
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import pytest

from tests.contract.llama_stack_operations import OPERATIONS
from tests.contract.llama_stack_schema import misfits, specification
from tests.contract.llama_stack_server import llama_stack_server
from tests.contract.llama_stack_walk import Answered, Walk
from tests.contract.shapes import events_of

if TYPE_CHECKING:
    import httpx

type Json = Any

SHAPES = ("real", "seed")
STREAM = "text/event-stream"


class Walked(NamedTuple):
    """What came of both walks, and the document of the server."""

    answers: dict[str, list[Answered]]
    document: Json


@pytest.fixture(scope="module")
def walked() -> Iterator[Walked]:
    """Walk twice; tests beside may have a loop of their own in this thread."""
    with ThreadPoolExecutor(1) as apart:
        yield apart.submit(anyio.run, _walk).result()


async def _walk() -> Walked:
    with anyio.fail_after(60):
        async with llama_stack_server() as http:
            answers = {shape: await Walk(http, seed=shape == "seed").run() for shape in SHAPES}
            document = (await http.get("/v1alpha/openapi.json")).raise_for_status().json()
            return Walked(answers, document)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_operation_is_answered(walked: Walked, shape: str) -> None:
    asked = {each.operation for each in walked.answers[shape]}
    assert asked == set(OPERATIONS)
    assert len(OPERATIONS) == 34


@pytest.mark.parametrize("shape", SHAPES)
def test_every_answer_says_which_engine_gave_it(walked: Walked, shape: str) -> None:
    told = {each.answer.headers.get("x-llama-stack-engine") for each in walked.answers[shape]}
    assert told == {"embedded"}


def test_the_document_has_exactly_these_operations(walked: Walked) -> None:
    assert _operations(walked.document) == set(OPERATIONS)


def test_the_specification_has_exactly_these_operations() -> None:
    assert _operations(specification()) == set(OPERATIONS)


@pytest.mark.parametrize("shape", SHAPES)
def test_answers_are_what_the_specification_says(walked: Walked, shape: str) -> None:
    # What is wrong with fields is told as real servers do, who do not follow it there.
    answers = [each for each in walked.answers[shape] if not _tells_of_fields(each.answer)]
    assert "\n".join(_invalid(answers, specification())) == ""


@pytest.mark.parametrize("shape", SHAPES)
def test_streams_and_wrong_fields_are_among_what_is_checked(walked: Walked, shape: str) -> None:
    answers = [each.answer for each in walked.answers[shape]]
    assert any(len(_values(each)) > 5 for each in answers)
    assert any(map(_tells_of_fields, answers))


@pytest.mark.parametrize("shape", SHAPES)
def test_answers_are_what_the_document_says(walked: Walked, shape: str) -> None:
    assert "\n".join(_invalid(walked.answers[shape], walked.document)) == ""


def _operations(document: Json) -> set[str]:
    methods = ("get", "post", "put", "delete", "patch")
    return {
        f"{method.upper()} {path.replace(':path', '')}"
        for path, item in document["paths"].items()
        for method in item
        if method in methods
    }


def _invalid(answers: list[Answered], document: Json) -> list[str]:
    """Tell which answers, and which chunks of streams, do not fit the schema of their status."""
    problems: list[str] = []
    for operation, answer in answers:
        method, _, path = operation.partition(" ")
        responses = document["paths"][path][method.lower()]["responses"]
        schema = _schema(responses, answer, document)
        if schema is None:
            continue
        if not answer.content:
            problems.append(f"{operation} {answer.status_code}: nothing")
            continue
        found = misfits(schema, document, _values(answer))
        problems += [f"{operation} {answer.status_code}: {problem}" for problem in found]
    return problems


def _values(answer: httpx.Response) -> list[Json]:
    """Return the JSON of an answer, or all that of a stream."""
    if _kind(answer) == STREAM:
        return events_of(answer.text)
    return [answer.json()] if answer.content else []


def _kind(answer: httpx.Response) -> str:
    kind: str = answer.headers.get("content-type", "").partition(";")[0]
    return kind


def _tells_of_fields(answer: httpx.Response) -> bool:
    return answer.status_code == 400 and "error" in answer.json()


def _schema(responses: Json, answer: httpx.Response, document: Json) -> Json:
    """Return the schema of a status, of its hundred, or of all that is not said."""
    status = answer.status_code
    known = [str(status), f"{status // 100}XX", "default"]
    response: Json = next((responses[name] for name in known if name in responses), {})
    if name := response.get("$ref", "").rpartition("/")[2]:
        response = document["components"]["responses"][name]
    return response.get("content", {}).get(_kind(answer), {}).get("schema")
