"""Requests with many values, or with many bytes where none are needed, over every binding."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("grpc")

import grpc
from a2a.types import a2a_pb2 as v1
from a2a.types import a2a_pb2_grpc

from agent.rpc_body import SMALL_BYTES
from tests.conformance.client import on_socket
from tests.conformance.wires import WIRES
from tests.fakes.ports import free_port
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from tests.conformance.client import Client
    from tests.conformance.wire import Wire

pytestmark = pytest.mark.anyio

stub: Any = a2a_pb2_grpc.A2AServiceStub

MOST = 10_000
TELLS = f"The request has more than {MOST} values; names of members count as well"
TOO_LARGE = -32050
NOT_FOUND = -32001

DATA: dict[str, Any] = {
    "lists": [[]] * MOST,
    "numbers": list(range(MOST)),
    "objects": [{"a": 1}] * (MOST // 2),
    "members": {f"n{number}": None for number in range(MOST)},
    "lists within lists": [[[1]] * 100] * (MOST // 200),
    "texts": ["x,y"] * MOST,
}
TEXTS = {
    "a table": "name,size;note\n" * 20_000,
    "a table with quotes": '"a","b","c"\r\n' * 20_000,
    "JSON": json.dumps([[]] * 80_000),
    "backslashes": '\\",' * 80_000,
}

wires = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)


@wires
async def test_a_message_of_too_many_values_is_refused(wire: Wire) -> None:
    async with on_socket(Script(ANSWER), wire, limits={"body_values": MOST}) as client:
        for kind, data in DATA.items():
            refused = await client.refused(wire.data({"values": data}))

            assert (refused.error["code"], refused.error["message"]) == (TOO_LARGE, TELLS), kind

    assert client.script.requests == []


@wires
async def test_a_long_text_is_one_value_whatever_it_holds(wire: Wire) -> None:
    async with on_socket(Script(ANSWER), wire, limits={"body_values": MOST}) as client:
        task = await client.send_task(*TEXTS.values())

    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert task["history"][0]["parts"] == [{"text": text} for text in TEXTS.values()]


@wires
async def test_what_is_allowed_by_default_is_enough_for_data_of_some_size(wire: Wire) -> None:
    rows = [{"name": f"row {number}", "size": number, "ok": True} for number in range(10_000)]
    async with on_socket(Script(ANSWER), wire) as client:
        task = await client.send_task(wire.data({"rows": rows}))

    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert task["history"][0]["parts"] == [{"data": {"rows": rows}}]


@pytest.mark.parametrize(
    "body",
    [b"[" + b"1," * MOST + b"1]", b'{"a":' + b"[" * MOST, b"[" + b"[]," * MOST],
    ids=["a batch", "no end", "a batch without end"],
)
async def test_what_is_not_even_a_call_is_refused_as_well(body: bytes) -> None:
    async with on_socket(Script(ANSWER), limits={"body_values": MOST}) as client:
        reply = await client.post(body)

    assert (reply.status, reply.code, reply.body["id"]) == (413, TOO_LARGE, None)


JSON = {"Content-Type": "application/json"}
SMALL = [
    "/tasks/none:cancel",
    "/tasks/none:subscribe",
    "/tasks/none/pushNotificationConfigs",
    "/v1/tasks/none:cancel",
]


async def filled(client: Client, path: str, size: int) -> Any:
    """Post what is good but for what it has too much of; returns the answer."""
    known = {"url": "https://hooks.example/1"} if path.endswith("Configs") else {}
    body = json.dumps(known | {"metadata": {"filler": "x" * size}})
    return await client.http.post(path, content=body, headers=client.headers({}) | JSON)


@pytest.mark.parametrize("path", SMALL)
async def test_where_no_message_comes_a_body_is_small_over_http(path: str) -> None:
    async with on_socket(Script(ANSWER)) as client:
        large = await filled(client, path, SMALL_BYTES)
        small = await filled(client, path, SMALL_BYTES // 2)

    assert large.status_code == 413
    assert f"The request is larger than {SMALL_BYTES} bytes" in large.text
    assert small.status_code == 404


@pytest.mark.parametrize("limit", [None, 1000], ids=["by default", "less for all"])
async def test_where_no_message_comes_a_request_is_small_over_grpc(limit: int | None) -> None:
    port = free_port()
    settings: dict[str, Any] = {"a2a": {"grpc_port": port}, "service": {"host": "127.0.0.1"}}
    if limit is not None:
        settings["limits"] = {"body_bytes": limit}
    async with (
        on_socket(Script(ANSWER), **settings),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        service = stub(channel)
        for call in (
            service.GetTask(v1.GetTaskRequest(id="x" * SMALL_BYTES)),
            service.ListTasks(v1.ListTasksRequest(page_token="x" * SMALL_BYTES)),
            service.SubscribeToTask(v1.SubscribeToTaskRequest(id="x" * SMALL_BYTES)),
        ):
            assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        call = service.GetTask(v1.GetTaskRequest(id="none"))
        assert await call.code() is grpc.StatusCode.NOT_FOUND
