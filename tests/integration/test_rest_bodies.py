"""What the routes of the REST layer do before they read a body, and with one that they cannot take."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import httpx
import pytest
from fastapi import APIRouter, Depends
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field
from starlette.requests import Request  # noqa: TC002 - FastAPI resolves the annotations of routes

from agent.audit import Audit
from agent.auth.access import Access
from agent.auth.api_key import ApiKeyToken
from agent.auth.attempts import Attempts
from agent.auth.gate import Gate
from agent.errors import ServerStopping
from agent.settings import Settings
from agent.settings.access import AccessRule
from rest_compat.callers import Callers
from tests.fakes.lightspeed_document import check, published
from tests.fakes.rest import rest_app
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from fastapi import FastAPI

pytestmark = pytest.mark.anyio

LIMIT = 1000
VALUES = 100
KEY = "key-of-the-tests"
KNOWN = {"authorization": f"Bearer {KEY}"}
SECRET = "canary-in-a-body"
SENT = {"name": "n", "count": 3}


class Body(BaseModel):
    """What the route of the tests takes."""

    name: str = Field(max_length=4)
    count: int


class Stopping(ServerStopping):
    """A class below one that the table has."""


def routes(callers: Callers) -> APIRouter:
    """Return routes that take bodies, of which the server has none yet."""
    router = callers.router("tests")

    @router.post("/fields/{thing_id}", dependencies=[Depends(callers.may("feedback"))])
    async def fields(thing_id: str, body: Body) -> dict[str, Any]:
        return {"thing": thing_id} | body.model_dump()

    @router.post("/raw", dependencies=[Depends(callers.may("feedback"))])
    async def raw(request: Request) -> dict[str, Any]:
        return {"read": (await request.body()).decode()}

    @router.post("/forbidden", dependencies=[Depends(callers.may("model_override"))])
    async def forbidden(body: Body) -> None:
        raise AssertionError(body)

    @router.post("/public")
    async def public(body: Body) -> dict[str, Any]:
        return body.model_dump()

    @router.post("/broken", dependencies=[Depends(callers.known())])
    async def broken() -> None:
        raise ValueError(SECRET)

    @router.post("/stopping", dependencies=[Depends(callers.known())])
    async def stopping() -> None:
        raise Stopping(3)

    return router


def made(audit: Audit | None = None) -> FastAPI:
    """Return the application, with the routes of the tests."""
    settings = Settings.model_validate({"limits": {"body_bytes": LIMIT, "body_values": VALUES}})
    rules = [AccessRule(role="*", actions=("feedback",))]
    gate = Gate(ApiKeyToken(KEY), Access(rules), Attempts(settings.limits), audit)
    app = rest_app(gate, settings)
    callers = Callers(gate, settings.limits)
    app.include_router(routes(callers))
    unguarded = APIRouter()

    @unguarded.post("/unguarded", dependencies=[Depends(callers.known())])
    async def of_another_kind() -> None:
        raise AssertionError

    app.include_router(unguarded)
    return app


class Served(NamedTuple):
    """A server, and its audit log."""

    http: httpx.AsyncClient
    log: Path

    def lines(self) -> list[Any]:
        """Return what the log tells."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def told(self) -> list[tuple[Any, ...]]:
        """Return how it ended, by operation."""
        return [(line["operation"], line["outcome"], line.get("reason")) for line in self.lines()]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path / "audit.log") as running:
        yield running


@asynccontextmanager
async def serving(log: Path) -> AsyncIterator[Served]:
    with anyio.fail_after(20), Audit(log) as audit:
        async with run_server(made(audit)) as url, httpx.AsyncClient(base_url=url) as http:
            yield Served(http, log)


async def answer_without_body(served: Served, path: str, headers: dict[str, str]) -> bytes:
    """Announce a body and send none of it; returns the answer."""
    url = served.http.base_url
    head = {"host": "localhost", "content-length": "100", "content-type": "application/json"}
    lines = [f"{name}: {value}\r\n" for name, value in (head | headers).items()]
    async with await anyio.connect_tcp("127.0.0.1", url.port or 0) as stream:
        await stream.send(f"POST {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode())
        return await stream.receive()


async def test_a_good_body_reaches_the_route_whole(served: Served) -> None:
    answer = await served.http.post("/fields/t-1", json=SENT, headers=KNOWN)
    assert (answer.status_code, answer.json()) == (200, {"thing": "t-1"} | SENT)
    answer = await served.http.post("/raw", content=b"x" * LIMIT, headers=KNOWN)
    assert (answer.status_code, answer.json()) == (200, {"read": "x" * LIMIT})
    assert served.told() == [("POST /fields/{thing_id}", "ok", None), ("POST /raw", "ok", None)]
    assert served.lines()[0]["objects"] == {"thing_id": "t-1"}


@pytest.mark.parametrize("path", ["/fields/t-1", "/raw", "/forbidden"])
async def test_of_a_body_whose_sender_is_not_known_nothing_is_read(
    served: Served, path: str
) -> None:
    assert (await answer_without_body(served, path, {})).startswith(b"HTTP/1.1 401 ")


async def test_of_a_body_whose_sender_may_not_nothing_is_read(served: Served) -> None:
    assert (await answer_without_body(served, "/forbidden", KNOWN)).startswith(b"HTTP/1.1 403 ")
    assert served.told() == [("POST /forbidden", "denied", "PERMISSION_DENIED")]


@pytest.mark.parametrize("body", [b"{", b'{"name": 1}', b"x" * (LIMIT + 1)], ids=len)
async def test_who_is_not_known_learns_nothing_about_their_body(
    served: Served, body: bytes
) -> None:
    answer = await served.http.post("/fields/t-1", content=body)
    assert answer.status_code == 401
    assert answer.json()["detail"].keys() == {"response", "cause"}


@pytest.mark.parametrize("path", ["/fields/t-1", "/raw", "/public"])
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in chunks"])
async def test_a_body_that_is_too_large_is_refused(
    served: Served, path: str, announced: bool
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(LIMIT // 100 + 1):
            yield b"x" * 100

    body = b"x" * (LIMIT + 1) if announced else chunks()
    answer = await served.http.post(path, content=body, headers=KNOWN)
    assert answer.status_code == 413
    assert answer.json() == {
        "detail": {
            "response": "Request is too large",
            "cause": f"The request is larger than {LIMIT} bytes",
        }
    }
    if path != "/public":
        assert [reason for _, _, reason in served.told()] == ["PAYLOAD_TOO_LARGE"]


@pytest.mark.parametrize("path", ["/fields/t-1", "/public"])
async def test_a_body_of_too_many_values_is_refused(served: Served, path: str) -> None:
    answer = await served.http.post(path, json=[[]] * VALUES, headers=KNOWN)
    assert answer.status_code == 413
    assert answer.json()["detail"] == {
        "response": "Request is too large",
        "cause": f"The request has more than {VALUES} values; names of members count as well",
    }


WRONG = {
    "value": ({"name": SECRET, "count": 1}, [["body", "name"]]),
    "type": ({"name": "n", "count": SECRET}, [["body", "count"]]),
    "missing": ({"password": SECRET}, [["body", "name"], ["body", "count"]]),
    "no object": ([SECRET], [["body"]]),
}


@pytest.mark.parametrize(("body", "where"), WRONG.values(), ids=WRONG)
async def test_wrong_fields_are_named_and_what_was_sent_is_not_repeated(
    served: Served, body: Any, where: list[list[str]]
) -> None:
    answer = await served.http.post("/fields/t-1", json=body, headers=KNOWN)
    assert answer.status_code == 422
    fields = answer.json()["detail"]
    assert [field["loc"] for field in fields] == where
    assert all(field.keys() == {"loc", "msg", "type"} for field in fields)
    assert SECRET not in answer.text
    assert served.told() == [("POST /fields/{thing_id}", "failed", "INVALID_PARAMS")]
    assert SECRET not in served.log.read_text()
    check(answer.json(), "HTTPValidationError", published())


async def test_a_body_that_is_no_json_is_refused_in_the_same_form(served: Served) -> None:
    headers = KNOWN | {"content-type": "application/json"}
    answer = await served.http.post("/fields/t-1", content=f'{{"{SECRET}', headers=headers)
    assert answer.status_code == 422
    assert [field["type"] for field in answer.json()["detail"]] == ["json_invalid"]
    assert SECRET not in answer.text
    answer = await served.http.post("/fields/t-1", content=b"\xff\xfe\xfa", headers=headers)
    assert answer.status_code == 422
    assert [field["type"] for field in answer.json()["detail"]] == ["json_invalid"]
    assert [reason for *_, reason in served.told()] == ["INVALID_PARAMS", "INVALID_PARAMS"]


async def test_who_goes_away_within_a_body_breaks_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        # The server stops when all that it does has ended, and been told.
        async with serving(tmp_path / "audit.log") as served:
            url = served.http.base_url
            head = f"host: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 100\r\n\r\n"
            async with await anyio.connect_tcp("127.0.0.1", url.port or 0) as stream:
                await stream.send(f"POST /raw HTTP/1.1\r\n{head}half".encode())
                await stream.send_eof()
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()
    assert caplog.records == []
    assert served.told() == [("POST /raw", "failed", "ABANDONED")]


@pytest.mark.parametrize("shown", ["r-1", None, "two words", "x" * 129])
async def test_a_fault_has_one_id_in_the_answer_the_audit_log_and_the_log(
    served: Served, shown: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    headers = KNOWN if shown is None else KNOWN | {"x-request-id": shown}
    with caplog.at_level(logging.ERROR):
        answer = await served.http.post("/broken", headers=headers)
    request_id = answer.headers["x-request-id"]
    assert answer.status_code == 500
    assert SECRET not in answer.text
    assert request_id == "r-1" if shown == "r-1" else request_id not in {"", shown}
    assert [line["request_id"] for line in served.lines()] == [request_id]
    assert [record.getMessage() for record in caplog.records] == [f"Internal error {request_id}"]


async def test_an_error_is_told_by_the_nearest_class_that_is_known(served: Served) -> None:
    answer = await served.http.post("/stopping", headers=KNOWN)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    assert answer.json()["detail"]["response"] == "Service unavailable"


async def test_a_route_that_lets_nobody_in_knows_no_caller(served: Served) -> None:
    answer = await served.http.post("/unguarded", headers=KNOWN)
    assert answer.status_code == 500


def test_every_route_of_the_server_is_guarded_but_the_pages() -> None:
    kinds = {
        str(context.path): type(context.original_route).__name__
        for context in iter_route_contexts(made().routes)
        if context.path != "/unguarded"
    }
    others = {path for path, kind in kinds.items() if kind != "Guarded"}
    assert others == {"/openapi.json", "/docs", "/redoc"}
