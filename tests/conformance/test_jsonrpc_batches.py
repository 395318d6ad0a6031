"""JSON-RPC 2.0: batches."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agent.rpc_body import BATCH_CALLS
from agent.stacks import DirectMessage, TextDelta, TextPart
from tests.conformance._requirements import requirement
from tests.conformance.client import call, in_process
from tests.conformance.wire_0_3 import V0_3
from tests.conformance.wire_1_0 import V1_0
from tests.fakes.scripted_stack import ANSWER, DONE, Script

if TYPE_CHECKING:
    from tests.conformance.client import Client
    from tests.conformance.reply import RpcReply as Reply
    from tests.conformance.wire import Json, Wire

pytestmark = pytest.mark.anyio


def outcomes(reply: Reply) -> dict[Any, Any]:
    """Return what each response of a batch says, by id: ``result`` or the code of the error."""
    assert reply.status == 200
    said = {}
    for body in reply.body:
        assert body["jsonrpc"] == "2.0"
        assert len(body) == 3
        said[json.dumps(body["id"])] = (
            "result" if "result" in body else reply.check_error(body)["code"]
        )
    assert len(said) == len(reply.body)
    return said


def notification(method: str, params: Json) -> Json:
    request = call(method, params)
    del request["id"]
    return request


@requirement("rpc/batch", "rpc/batch-invalid", "rpc/batch-any-method", "0.3/json-rpc")
async def test_each_request_of_a_batch_is_answered_by_itself(
    rpc: Wire, answering: dict[Wire, Client]
) -> None:
    """A stream cannot be one response of many, so streaming methods are refused there."""
    client = answering[rpc]
    params = client.params("hi")
    reply = await client.post(
        [
            call(rpc.send, params, 1),
            call(rpc.get, {"id": "no-such-task"}, "two"),
            notification(rpc.send, params),
            call(rpc.stream, params, 3),
            call("unknown", {}, 4),
            call(rpc.get, {}, 5),
            call(rpc.get, [], 6),
            {"jsonrpc": "1.0", "id": 7, "method": rpc.send, "params": params},
            call(rpc.send, params, None),
        ]
    )
    assert outcomes(reply) == {
        "1": "result",
        '"two"': -32001,
        "3": -32600,
        "4": -32601,
        "5": -32602,
        "6": -32602,
        "7": -32600,
        "null": "result",
    }
    assert len(client.script.requests) == 3


@pytest.mark.parametrize("element", [1, "a", None, [], [[]], {}, {"id": {}}])
@requirement("rpc/batch-invalid")
async def test_what_is_no_request_in_a_batch_is_answered_with_null_as_id(
    rpc: Wire, answering: dict[Wire, Client], element: Json
) -> None:
    client = answering[rpc]
    reply = await client.post([element, call(rpc.send, client.params("hi"))])
    assert outcomes(reply) == {"null": -32600, "1": "result"}


@requirement("rpc/batch")
async def test_versions_mix_in_a_batch() -> None:
    async with in_process(Script(ANSWER), V1_0) as client:
        task_id = (await client.send_task("hi"))["id"]
        reply = await client.post([call(w.get, {"id": task_id}, w.version) for w in (V1_0, V0_3)])
        new, old = reply.body
        assert V1_0.read_task(new["result"]) == V0_3.read_task(old["result"])


@requirement("rpc/batch")
async def test_ids_may_repeat_in_a_batch(rpc: Wire, answering: dict[Wire, Client]) -> None:
    client = answering[rpc]
    reply = await client.post([call(rpc.send, client.params("hi"), 1)] * 3)
    assert [body["id"] for body in reply.body] == [1, 1, 1]
    assert len({json.dumps(body["result"]) for body in reply.body}) == 3


@requirement("rpc/batch")
async def test_messages_without_a_task_go_into_batches(rpc: Wire) -> None:
    async with in_process(Script([DirectMessage((TextPart("hello"),))]), rpc) as client:
        (body,) = (await client.post([call(rpc.send, client.params("hi"))])).body
        assert rpc.read_event(body["result"])["message"]["parts"] == [{"text": "hello"}]


@requirement("rpc/batch-notifications")
async def test_notifications_alone_are_carried_out_and_not_answered(
    rpc: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[rpc]
    reply = await client.post([notification(rpc.send, client.params("hi"))] * 2)
    assert (reply.status, reply.text) == (204, "")
    assert len(client.script.requests) == 2


@requirement("rpc/batch-empty", "rpc/null-id")
async def test_an_empty_batch_is_one_invalid_request(
    rpc: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[rpc]
    reply = await client.post(" [ ] ")
    assert (reply.code, reply.body["id"]) == (-32600, None)


@requirement("1.0/limits")
async def test_a_batch_has_a_bound_and_nothing_of_a_longer_one_is_run(
    rpc: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[rpc]
    request = call(rpc.send, client.params("hi"))
    assert (await client.post([request] * (BATCH_CALLS + 1))).code == -32600
    assert client.script.requests == []
    assert len((await client.post([request] * BATCH_CALLS)).body) == BATCH_CALLS


@requirement("1.0/limits")
async def test_a_busy_server_says_so_for_each_request_of_a_batch(rpc: Wire) -> None:
    limits = {"running_tasks": 1, "queue_seconds": 0}
    async with in_process(Script(ANSWER), rpc, limits=limits) as client:
        reply = await client.post([call(rpc.send, client.params("hi"), n) for n in range(3)])
        assert sorted(map(str, outcomes(reply).values())) == ["-32051", "-32051", "result"]


@requirement("1.0/limits", "rpc/batch")
async def test_what_a_batch_reads_beyond_the_bound_is_refused(rpc: Wire) -> None:
    """Until the bound is reached all is answered, whatever its size."""
    script = Script([TextDelta("x" * 1_000), DONE])
    async with in_process(script, rpc, limits={"answer_bytes": 2_000}) as client:
        task_id = (await client.send_task("hi"))["id"]
        reply = await client.post([call(rpc.get, {"id": task_id}, n) for n in range(5)])
        assert outcomes(reply) == {
            "0": "result",
            "1": "result",
            "2": -32050,
            "3": -32050,
            "4": -32050,
        }
        assert "send fewer requests at once" in reply.body[-1]["error"]["message"]
        assert (await client.get(task_id)).task["id"] == task_id


@requirement("1.0/limits", "rpc/batch")
async def test_what_a_batch_does_beyond_the_bound_is_done_all_the_same(rpc: Wire) -> None:
    """The task is there, and can be read; a message is never lost for want of room."""
    script = Script([TextDelta("x" * 1_000), DONE])
    async with in_process(script, rpc, limits={"answer_bytes": 1}) as client:
        reply = await client.post([call(rpc.send, client.params("hi"), n) for n in range(3)])
        said = sorted(map(str, outcomes(reply).values()))
        assert said == ["-32050", "-32050", "result"]
        (refused, _) = (body for body in reply.body if "error" in body)
        assert "carried out all the same" in refused["error"]["message"]
        assert len(script.requests) == 3
