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
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from tests.conformance.client import Client
    from tests.conformance.wire import Wire

pytestmark = pytest.mark.anyio


@requirement("1.0/data-model", "0.3/parts", "0.3/file")
async def test_every_kind_of_part_reaches_the_stack(
    wire: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[wire]
    content = base64.b64encode(b"\x00\xff\xfe").decode()
    await client.send(
        "text",
        wire.text(""),
        wire.raw(content, "a.json", "application/json"),
        wire.url("https://a.example/b.png", "b.png", "image/png"),
        wire.data({"key": [1, None, {"deep": True}]}),
    )
    assert client.script.requests[0].parts == (
        TextPart("text"),
        TextPart(""),
        FilePart("a.json", "application/json", data=b"\x00\xff\xfe"),
        FilePart("b.png", "image/png", uri="https://a.example/b.png"),
        DataPart({"key": [1, None, {"deep": True}]}),
    )


@requirement("1.0/send-media-type", "1.0/media-types", "0.3/a2a-errors")
async def test_a_media_type_that_the_card_does_not_name_is_refused(
    wire: Wire, answering: dict[Wire, Client]
) -> None:
    """Whether the file is sent or named, and before the stack hears of it."""
    client = answering[wire]
    for part in (
        wire.raw("AP8=", "a", "application/x-unsupported"),
        wire.url("https://a.example/a", "a", "video/mp4"),
    ):
        reply = await client.refused("look:", part)
        assert reply.code == -32005
    assert client.script.requests == []


@pytest.mark.parametrize("text", ["AP/+", "AP_-", "AP8=", "AP8", ""])
@requirement("1.0/data-model")
async def test_base64_may_be_url_safe_and_without_padding(
    rpc: Wire, answering: dict[Wire, Client], text: str
) -> None:
    client = answering[rpc]
    assert await client.send(rpc.raw(text, "a", "image/png"))


@pytest.mark.parametrize("data", [None, True, 0, -1.5, "text", [], [1, "a", None], {}])
@requirement("1.0/data-model")
async def test_data_is_any_json_in_1_0(
    latest: Wire, answering: dict[Wire, Client], data: Any
) -> None:
    client = answering[latest]
    task = await client.send_task(latest.data(data))
    assert client.script.requests[0].parts == (DataPart(data),)
    assert task["history"][0]["parts"] == [{"data": data}]


@requirement("1.0/limits")
async def test_a_request_may_be_nested_so_deeply_and_no_deeper(
    rpc: Wire, answering: dict[Wire, Client]
) -> None:
    """Whoever writes JSON by recursion has an end, and would come to it after it was accepted."""
    client = answering[rpc]
    around = 5  # request, params, message, metadata, and the list's own level
    for levels in (NESTING - around, NESTING, 1_000, 1_100, 100_000):
        nested = "[" * levels + "]" * levels
        params = client.params("hi", metadata={"deep": "HERE"})
        body = json.dumps(call(rpc.send, params)).replace('"HERE"', nested)
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
        assert await client.send(wire.raw(base64.b64encode(b"123").decode(), "a", "image/png"))
        reply = await client.refused(wire.raw(base64.b64encode(b"1234").decode(), "a", "image/png"))
        assert (reply.code, reply.field) == (-32602, "message.parts[0]")
