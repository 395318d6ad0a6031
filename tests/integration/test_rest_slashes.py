"""A slash at the end of a path of REST: LCS redirects to where there is none, this server answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.client import on_socket
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    import httpx

pytestmark = pytest.mark.anyio

UNKNOWN = "0" * 48
CALLS = (
    ("GET", "/v1/info"),
    ("GET", "/v1/providers"),
    ("GET", f"/v1/conversations/{UNKNOWN}"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("POST", "/authorized"),
    ("POST", "/v1/infer"),
    ("DELETE", "/v1/query"),
)


def said(answer: httpx.Response) -> tuple[int, str | None, str]:
    return answer.status_code, answer.headers.get("allow"), answer.text


@pytest.mark.parametrize("root", ["", "/agent"])
async def test_a_slash_at_the_end_is_forgiven_and_two_are_not(root: str) -> None:
    """Whatever is answered without one, which is no 404 of a path that is not there."""
    async with on_socket(Script(), service={"root_path": root}) as client:
        for method, path in CALLS:
            plain, slash, twice = [
                await client.http.request(method, f"{root}{path}{end}") for end in ("", "/", "//")
            ]

            assert plain.text != '{"detail":"Not Found"}', path
            assert said(slash) == said(plain), path
            assert (twice.status_code, twice.text) == (404, '{"detail":"Not Found"}'), path


@pytest.mark.parametrize("root", ["", "/agent"])
async def test_the_page_at_the_root_has_its_slash(root: str) -> None:
    async with on_socket(Script(), service={"root_path": root}) as client:
        page = await client.http.get(f"{root}/")

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")


async def test_a_question_is_answered_with_a_slash() -> None:
    async with on_socket(Script(ANSWER)) as client:
        asked = await client.http.post("/v1/query/", json={"query": "hello"})
        counted = await client.http.get("/metrics")

    assert asked.status_code == 200
    assert asked.json()["conversation_id"]
    # It is the same operation.
    assert 'ls_rest_api_calls_total{path="/v1/query",status_code="200"} 1.0' in counted.text
