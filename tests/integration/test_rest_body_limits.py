"""What bodies of the REST layer may hold, and that none of them costs more than it should."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agent.rpc_body import SMALL_BYTES
from rest_compat.callers import VALUES
from rest_compat.problems import FIELDS
from tests.fakes.scripted_stack import ANSWER
from tests.fakes.stocked_stack import Stock, stocked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}
CONVERSATION = "0123456789abcdef" * 3
QUERY = {"query": "why?", "generate_topic_summary": False}
LOG = {"attachment_type": "log", "content_type": "text/plain", "content": ""}
FEEDBACK = {
    "conversation_id": CONVERSATION,
    "user_question": "",
    "llm_response": "",
    "sentiment": 1,
}
SMALL = [
    ("POST", "/authorized"),
    ("POST", "/v1/feedback"),
    ("PUT", "/v1/feedback/status"),
    ("PUT", f"/v1/conversations/{CONVERSATION}"),
    ("PUT", f"/v2/conversations/{CONVERSATION}"),
    ("GET", "/v1/conversations"),
]
TEXTS = [
    ("/v1/query", "query"),
    ("/v1/streaming_query", "query"),
    ("/v1/infer", "question"),
]
HALF = "\ud800"


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    folder: Path = tmp_path_factory.mktemp("feedback")
    stored = {"feedback_enabled": True, "feedback_storage": folder}
    async with stocked(Stock(ANSWER), user_data_collection=stored) as http:
        yield http


async def problem(http: httpx.AsyncClient, path: str, body: Any) -> tuple[int, Any]:
    """Return the status of what a body is answered with, and the detail."""
    answer = await http.post(path, json=body)
    return answer.status_code, answer.json()["detail"]


@pytest.mark.parametrize(("method", "path"), SMALL, ids=[" ".join(each) for each in SMALL])
async def test_who_takes_no_texts_reads_small_bodies_only(
    shared: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await shared.request(method, path, content=b" " * (SMALL_BYTES + 1), headers=JSON)
    assert answer.status_code == 413
    cause = f"The request is larger than {SMALL_BYTES} bytes"
    assert answer.json()["detail"] == {"response": "Request is too large", "cause": cause}
    answer = await shared.request(method, path, content=b" " * SMALL_BYTES, headers=JSON)
    assert answer.status_code != 413


@pytest.mark.parametrize(("path", "field"), TEXTS)
async def test_who_takes_texts_reads_large_bodies(
    shared: httpx.AsyncClient, path: str, field: str
) -> None:
    answer = await shared.post(path, json={field: "x" * (SMALL_BYTES + 1)})
    assert answer.status_code == 200


async def test_a_body_has_no_more_values_than_any_request_needs(shared: httpx.AsyncClient) -> None:
    status, detail = await problem(shared, "/v1/query", {"query": "x", "attachments": [0] * VALUES})
    assert status == 413
    assert str(VALUES) in detail["cause"]


async def test_a_query_with_all_that_it_may_hold_is_taken(shared: httpx.AsyncClient) -> None:
    log = LOG | {"content": json.dumps([{"a": 0}] * VALUES)}
    status = (await shared.post("/v1/query", json=QUERY | {"attachments": [log] * 99})).status_code
    assert status == 200


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32-be"])
async def test_another_encoding_hides_no_values(shared: httpx.AsyncClient, encoding: str) -> None:
    """In it a sign may hold the byte of a quote, which ends nowhere."""
    zeros = ",".join(["0"] * (VALUES + 1))
    body = f'{{"query": "\u2200", "attachments": [{zeros}]}}'.encode(encoding)
    answer = await shared.post("/v1/query", content=body, headers=JSON)
    assert [field["type"] for field in answer.json()["detail"]] == ["json_invalid"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/query", {"query": "x", "attachments": [0] * (VALUES // 2)}),
        ("/v1/query", {"query": "x", "vector_store_ids": [0] * (VALUES // 2)}),
        ("/v1/query", {"query": "x"} | {f"a{number}": 0 for number in range(VALUES // 4)}),
        ("/v1/feedback", FEEDBACK | {"categories": [0] * (VALUES // 2)}),
    ],
    ids=["attachments", "ids", "fields", "categories"],
)
async def test_of_many_wrong_fields_the_first_are_told(
    shared: httpx.AsyncClient, path: str, body: Any
) -> None:
    status, detail = await problem(shared, path, body)
    assert (status, len(detail)) == (422, FIELDS)


async def test_more_attachments_than_a_message_has_parts_are_refused_at_once(
    shared: httpx.AsyncClient,
) -> None:
    said = await problem(shared, "/v1/query", QUERY | {"attachments": [LOG] * 1000})
    cause = "Invalid attachments: there must be 99 at most"
    assert said == (422, {"response": "Invalid attribute value", "cause": cause})


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-32-be", "latin-1"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/query", {"query": f"ö{HALF}"}),
        ("POST", "/v1/query", {"query": "ö", "attachments": [LOG | {"attachment_type": HALF}]}),
        ("POST", "/v1/infer", {"question": "ö", "context": {"stdin": HALF}}),
        ("POST", "/v1/infer", {"question": "ö", "context": {"systeminfo": {"os": HALF}}}),
        ("POST", "/v1/feedback", FEEDBACK | {"user_question": f"ö{HALF}"}),
        ("POST", "/v1/feedback", FEEDBACK | {"user_question": "ö", "conversation_id": HALF}),
        ("PUT", f"/v1/conversations/{CONVERSATION}", {"topic_summary": f"ö{HALF}"}),
        ("PUT", f"/v2/conversations/{CONVERSATION}", {"topic_summary": f"ö{HALF}"}),
    ],
    ids=["query", "attachment", "stdin", "system", "question", "id", "topic v1", "topic v2"],
)
async def test_json_is_utf_8_without_halves_of_characters(
    shared: httpx.AsyncClient, method: str, path: str, body: Any, encoding: str
) -> None:
    """What Python would read besides: other encodings, halves that are escaped, halves as bytes."""
    escaped = json.dumps(body, ensure_ascii=False).replace(HALF, "\\ud800")
    bare = json.dumps(body, ensure_ascii=False).encode(errors="surrogatepass")
    for content in (escaped.encode(encoding), escaped.encode(), bare):
        answer = await shared.request(method, path, content=content, headers=JSON)
        assert answer.status_code == 422
        assert [field["type"] for field in answer.json()["detail"]] == ["json_invalid"]
