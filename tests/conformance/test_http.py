"""What JSON-RPC says by HTTP: paths, content types and sizes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.conformance._requirements import requirement
from tests.conformance.client import call, in_process, on_socket
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conformance.client import Client
    from tests.conformance.wire import Wire

pytestmark = pytest.mark.anyio

GOOD_TYPES = [
    "application/json",
    "application/json; charset=utf-8",
    "Application/JSON",
    "application/a2a+json",
]
BAD_TYPES = [
    "",
    "text/plain",
    "text/json",
    "application/jsonl",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=application/json",
    "application/json, text/plain",
]


@pytest.mark.parametrize("path", ["/a2a", "/a2a/", "/"])
@requirement("1.0/send-answer", "0.3/json-rpc")
async def test_json_rpc_is_spoken_at_the_address_of_the_card_and_at_the_root(
    rpc: Wire, answering: dict[Wire, Client], path: str
) -> None:
    client = answering[rpc]
    assert (await client.post(call(rpc.send, client.params("hi")), path)).sent
    assert (await client.post(call(rpc.stream, client.params("hi")), path)).events()


@pytest.mark.parametrize("content_type", GOOD_TYPES)
@requirement("1.0/rpc-content-type", "0.3/content-type")
async def test_requests_are_json(
    rpc: Wire, answering: dict[Wire, Client], content_type: str
) -> None:
    client = answering[rpc]
    request = call(rpc.send, client.params("hi"))
    reply = await client.post(request, Content_Type=content_type)
    assert reply.sent
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize("content_type", BAD_TYPES)
@requirement("1.0/rpc-content-type", "1.0/content-type-code", "0.3/content-type")
async def test_requests_of_another_type_are_refused(
    rpc: Wire, answering: dict[Wire, Client], content_type: str
) -> None:
    client = answering[rpc]
    request = call(rpc.send, client.params("hi"))
    reply = await client.post(request, Content_Type=content_type)
    assert (reply.code, reply.status, reply.body["id"]) == (-32005, 415, None)
    assert client.script.requests == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
@requirement("0.3/json-rpc")
async def test_json_rpc_is_posted(method: str) -> None:
    async with in_process(Script(ANSWER)) as client:
        assert (await client.http.request(method, "/a2a", content=b"{}")).status_code == 405


@pytest.mark.parametrize("bracket", [b"", b"["])
@requirement("1.0/limits", "1.0/error-content")
async def test_a_body_that_is_too_large_is_refused(rpc: Wire, bracket: bytes) -> None:
    """Nothing of it is run, whatever it was."""
    async with on_socket(Script(ANSWER), rpc, limits={"body_bytes": 1_000}) as client:
        body = bracket + json.dumps(call(rpc.send, client.params("x" * 1_000))).encode()
        reply = await client.post(body)
        assert (reply.code, reply.status, reply.body["id"]) == (-32050, 413, None)
        assert client.script.requests == []
        fits = json.dumps(call(rpc.send, client.params("hi"))).ljust(1_000)
        assert (await client.post(fits)).sent


@requirement("1.0/limits")
async def test_a_body_of_unknown_size_is_refused_when_it_has_become_too_large(rpc: Wire) -> None:
    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b" " * 100

    headers = {"Content-Type": "application/json"}
    async with in_process(Script(ANSWER), rpc, limits={"body_bytes": 1_000}) as client:
        response = await client.http.post("/a2a", content=chunks(11), headers=headers)
        assert response.status_code == 413
        assert response.json()["error"]["code"] == -32050
    async with on_socket(Script(ANSWER), rpc, limits={"body_bytes": 1_000}) as client:
        response = await client.http.post("/a2a", content=chunks(11), headers=headers)
        assert response.status_code == 413
        response = await client.http.post("/a2a", content=chunks(10), headers=headers)
        assert response.json()["error"]["code"] == -32700
        assert await client.send("still there?")


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "²"])
@requirement("1.0/limits")
async def test_a_length_that_is_none_is_not_believed(
    rpc: Wire, answering: dict[Wire, Client], length: str
) -> None:
    client = answering[rpc]
    request = call(rpc.send, client.params("hi"))
    named = {b"Content-Length": length.encode(), b"Content-Type": b"application/json"}
    response = await client.http.post("/a2a", content=json.dumps(request), headers=named)
    assert "result" in response.json()
