"""JSON-RPC 2.0: requests, notifications and what is wrong with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import StateError
from tests.conformance._requirements import requirement
from tests.conformance.client import call, in_process
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from tests.conformance.client import Client
    from tests.conformance.wire import Wire

pytestmark = pytest.mark.anyio

NOT_JSON = {
    "nothing": b"",
    "half of an object": b'{"jsonrpc": "2.0", "id": 1',
    "half of a batch": b'[{"jsonrpc": "2.0"}',
    "two values": b"{} {}",
    "invalid UTF-8": b'{"jsonrpc": "2.0", "id": "\xff"}',
    "UTF-16": '{"jsonrpc": "2.0"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"jsonrpc": "2.0"}',
    "NaN": b'{"jsonrpc": "2.0", "id": NaN}',
    "NaN in params": b'{"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"id": NaN}}',
    "Infinity": b'{"jsonrpc": "2.0", "id": -Infinity}',
    "a number out of range": b'{"jsonrpc": "2.0", "id": 1e999}',
    "a lone surrogate": b'{"jsonrpc": "2.0", "id": "\\ud800"}',
    "a lone surrogate in params": b'{"jsonrpc": "2.0", "id": 1, "params": {"id": "\\udfff!"}}',
    "a control character": b'{"jsonrpc": "2.0", "id": "\x00"}',
    "a comment": b"{} // thanks",
    "single quotes": b"{'jsonrpc': '2.0'}",
}
INVALID = {
    "a string": ("hello", None),
    "a number": (1, None),
    "null": (None, None),
    "no jsonrpc": ({"id": 1, "method": "x"}, 1),
    "another jsonrpc": ({"jsonrpc": "1.0", "id": "a", "method": "x"}, "a"),
    "a number as jsonrpc": ({"jsonrpc": 2.0, "id": 1, "method": "x"}, 1),
    "no method": ({"jsonrpc": "2.0", "id": 1}, 1),
    "a number as method": ({"jsonrpc": "2.0", "id": 1, "method": 1}, 1),
    "null as method": ({"jsonrpc": "2.0", "id": 1, "method": None}, 1),
    "an object as id": ({"jsonrpc": "2.0", "id": {}, "method": "x"}, None),
    "a list as id": ({"jsonrpc": "2.0", "id": [1], "method": "x"}, None),
    "true as id": ({"jsonrpc": "2.0", "id": True, "method": "x"}, None),
}
IDS = {
    "a number": "7",
    "zero": "0",
    "a negative number": "-1",
    "a fraction": "1.5",
    "more than 64 bits": "123456789012345678901234567890",
    "a string": '"request-1"',
    "an empty string": '""',
    "a long string": json.dumps("x" * 100_000),
    "NUL and control characters": r'"a\u0000b\u001f\u007f"',
    "any script": json.dumps("Zürich 東京 🚀", ensure_ascii=False),
    "null": "null",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
@requirement("rpc/parse-error", "rpc/null-id", "0.3/rpc-errors", "1.0/error-content")
async def test_what_is_not_json_is_a_parse_error(
    rpc: Wire, answering: dict[Wire, Client], body: bytes
) -> None:
    client = answering[rpc]
    reply = await client.post(body)
    assert (reply.code, reply.body["id"], reply.status) == (-32700, None, 200)
    assert await client.send("still there?")


@pytest.mark.parametrize(("body", "call_id"), INVALID.values(), ids=INVALID.keys())
@requirement(
    "rpc/invalid-request",
    "rpc/version",
    "rpc/method",
    "rpc/id",
    "rpc/params",
    "0.3/json-rpc",
    "1.0/rpc-request",
)
async def test_what_is_no_request_is_an_invalid_request(
    rpc: Wire, answering: dict[Wire, Client], body: Any, call_id: Any
) -> None:
    """The id is told where there is one."""
    client = answering[rpc]
    reply = await client.post(json.dumps(body))
    assert (reply.code, reply.body["id"], reply.status) == (-32600, call_id, 200)
    assert await client.send("still there?")


@pytest.mark.parametrize("method", ["", "message/sendd", "SENDMESSAGE", "rpc.discover", "__init__"])
@requirement("rpc/method-not-found", "0.3/rpc-errors")
async def test_an_unknown_method_is_not_found(
    rpc: Wire, answering: dict[Wire, Client], method: str
) -> None:
    client = answering[rpc]
    assert (await client.call(method, {})).code == -32601


@pytest.mark.parametrize("params", [[], ["a task"], [{}], "a task", 1, True])
@requirement("rpc/invalid-params", "rpc/params")
async def test_parameters_go_by_name(rpc: Wire, answering: dict[Wire, Client], params: Any) -> None:
    client = answering[rpc]
    for method in (rpc.send, rpc.stream, rpc.get):
        reply = await client.call(method, params)
        assert (reply.code, reply.field) == (-32602, "params")


@requirement("1.0/push-unsupported", "0.3/push-unsupported", "0.3/a2a-errors", "rpc/batch")
async def test_an_operation_that_is_switched_off_is_refused_within_batches_too(rpc: Wire) -> None:
    """In the words of the version that has the method."""
    async with in_process(Script(ANSWER), rpc, push={"enabled": False}) as client:
        task = await client.send_task("hi")
        params = rpc.push_task_params(task["id"])
        (error,) = (await client.post([call(rpc.methods["list_push"], params)])).body
        assert error["error"]["code"] == -32003


@pytest.mark.parametrize("params", ["", ', "params": null', ', "params" :\n {}'])
@requirement("rpc/params", "rpc/invalid-params")
async def test_parameters_that_are_left_out_are_missing_by_name(
    rpc: Wire, answering: dict[Wire, Client], params: str
) -> None:
    client = answering[rpc]
    reply = await client.post(f'{{"jsonrpc": "2.0", "id": 1, "method": "{rpc.get}"{params}}}')
    assert (reply.code, reply.field) == (-32602, "id")


@pytest.mark.parametrize("call_id", IDS.values(), ids=IDS.keys())
@requirement("rpc/same-id", "rpc/id", "rpc/result-xor-error", "0.3/json-rpc")
async def test_the_response_has_the_id_of_the_request(
    rpc: Wire, answering: dict[Wire, Client], call_id: str
) -> None:
    client = answering[rpc]
    params = json.dumps(client.params("hi"))
    good = f'{{"jsonrpc": "2.0", "id": {call_id}, "method": "{rpc.send}", "params": {params}}}'
    bad = f'{{"jsonrpc": "2.0", "id": {call_id}, "method": "{rpc.get}"}}'
    reply = await client.post(good)
    assert reply.sent
    assert reply.body["id"] == json.loads(call_id)
    reply = await client.post(bad)
    assert reply.error
    assert reply.body["id"] == json.loads(call_id)
    streamed = await client.post(good.replace(rpc.send, rpc.stream))
    assert {json.dumps(event.body["id"]) for event in streamed.events()} == {
        json.dumps(json.loads(call_id))
    }


@requirement("rpc/notification", "0.3/json-rpc")
async def test_a_notification_is_carried_out_and_not_answered(rpc: Wire) -> None:
    async with in_process(Script(ANSWER), rpc) as client:
        for method in (rpc.send, rpc.stream):
            request = call(method, client.params(f"notify {method}"))
            del request["id"]
            reply = await client.post(request)
            assert (reply.status, reply.text) == (204, "")
        while client.script.closed_turns < 2:
            await client.call(rpc.get, {"id": "any"})
        texts = [request.parts[0].text for request in client.script.requests]  # type: ignore[union-attr]  # all are text
        assert texts == [f"notify {rpc.send}", f"notify {rpc.stream}"]


@requirement("rpc/notification")
async def test_a_notification_that_fails_is_not_answered_either(
    rpc: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[rpc]
    for method in ("unknown", rpc.get, rpc.send, rpc.stream):
        reply = await client.post({"jsonrpc": "2.0", "method": method, "params": {}})
        assert (reply.status, reply.text) == (204, ""), method


@requirement("rpc/internal-error", "rpc/error-object", "0.3/rpc-errors", "1.0/error-content")
async def test_an_error_of_ours_keeps_its_text_to_itself(
    rpc: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets an id, under which the log has the rest."""
    async with in_process(
        Script(ANSWER, starting=StateError("secret: the disk is full")), rpc
    ) as client:
        error = (await client.call(rpc.send, client.params("hi"))).error
        assert (error["code"], error["message"]) == (-32603, "Internal error")
        data = error["data"]
        request_id = (data if isinstance(data, dict) else data[0])["requestId"]
        assert any(request_id in record.message for record in caplog.records)
        assert (await client.call(rpc.stream, client.params("hi"))).code == -32603


@requirement("1.0/unknown-fields", "0.3/json-rpc")
async def test_unknown_members_of_the_request_are_ignored(
    rpc: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[rpc]
    request = call(rpc.send, client.params("hi")) | {"context": {"a": 1}, "auth": None}
    assert (await client.post(request)).sent


@requirement("rpc/invalid-request")
async def test_of_a_member_that_is_there_twice_the_last_counts(
    rpc: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[rpc]
    body = json.dumps(call(rpc.send, client.params("hi")))
    reply = await client.post(body[:-1] + ', "id": 2}')
    assert reply.sent
    assert reply.body["id"] == 2
