"""The parts of a message, and how large a message may be."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from agent.nesting import NESTING
from agent.stacks import DataPart, FilePart, TextPart
from tests.conformance._requirements import requirement
from tests.conformance.client import call, in_process
from tests.conformance.wire import V1_0
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from tests.conformance.wire import Wire

pytestmark = pytest.mark.anyio


@requirement("1.0/data-model", "0.3/parts", "0.3/file")
async def test_every_kind_of_part_reaches_the_stack(wire: Wire) -> None:
    async with in_process(Script(ANSWER), wire) as client:
        content = base64.b64encode(b"\x00\xff\xfe").decode()
        await client.send(
            "text",
            wire.text(""),
            wire.raw(content, "a.bin", "application/x-a"),
            wire.url("https://a.example/b.png", "b.png", "image/png"),
            wire.data({"key": [1, None, {"deep": True}]}),
        )
        assert client.script.requests[0].parts == (
            TextPart("text"),
            TextPart(""),
            FilePart("a.bin", "application/x-a", data=b"\x00\xff\xfe"),
            FilePart("b.png", "image/png", uri="https://a.example/b.png"),
            DataPart({"key": [1, None, {"deep": True}]}),
        )


@pytest.mark.parametrize("text", ["AP/+", "AP_-", "AP8=", "AP8", ""])
@requirement("1.0/data-model")
async def test_base64_may_be_url_safe_and_without_padding(wire: Wire, text: str) -> None:
    async with in_process(Script(ANSWER), wire) as client:
        assert await client.send(wire.raw(text, "a", "b/c"))


@pytest.mark.parametrize("data", [None, True, 0, -1.5, "text", [], [1, "a", None], {}])
@requirement("1.0/data-model")
async def test_data_is_any_json_in_1_0(data: Any) -> None:
    async with in_process(Script(ANSWER), V1_0) as client:
        task = await client.send_task(V1_0.data(data))
        assert client.script.requests[0].parts == (DataPart(data),)
        assert task["history"][0]["parts"] == [{"data": data}]


@requirement("1.0/limits")
async def test_a_request_may_be_nested_so_deeply_and_no_deeper(wire: Wire) -> None:
    """Whoever writes JSON by recursion has an end, and would come to it after it was accepted."""
    async with in_process(Script(ANSWER), wire) as client:
        around = 5  # request, params, message, metadata, and the list's own level
        for levels in (NESTING - around, NESTING, 1_000, 1_100, 100_000):
            nested = "[" * levels + "]" * levels
            params = client.params("hi", metadata={"deep": "HERE"})
            body = json.dumps(call(wire.send, params)).replace('"HERE"', nested)
            reply = await client.post(body)
            if levels == NESTING - around:
                # Not held against its type: the parser of protobuf gives up before we do.
                result = reply.result
                task = result.get("task", result)
                assert (await client.get(task["id"])).result == task
            else:
                assert reply.code == -32600
        assert await client.send("brackets in text: " + "[" * 1_000)


@requirement("1.0/limits")
async def test_a_file_has_a_bound(wire: Wire) -> None:
    async with in_process(Script(ANSWER), wire, limits={"file_bytes": 3}) as client:
        assert await client.send(wire.raw(base64.b64encode(b"123").decode(), "a", "b/c"))
        reply = await client.refused(wire.raw(base64.b64encode(b"1234").decode(), "a", "b/c"))
        assert (reply.code, reply.field) == (-32602, "message.parts[0]")
