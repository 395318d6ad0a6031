"""Which version of A2A a request is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance._requirements import requirement
from tests.conformance._requirements.row import JSON_RPC
from tests.conformance.client import call, in_process
from tests.conformance.wire_0_3 import V0_3
from tests.conformance.wire_1_0 import V1_0
from tests.conformance.wires import other_version
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from tests.conformance.client import Client
    from tests.conformance.wire import Wire

pytestmark = pytest.mark.anyio

KNOWN = ["1.0", "1.0.0", "1.0.17", "0.3", "0.3.0", " 1.0 ", ""]
UNKNOWN = [
    "2.0",
    "1.1",
    "1",
    "0.2.6",
    "0.5",
    "10.0",
    "v1.0",
    "latest",
    "1.0, 0.3",
    "1,0",
    "\u0661.\u0660",
]
OTHER = {V1_0: V0_3, V0_3: V1_0}


@pytest.mark.parametrize("version", KNOWN)
@requirement("1.0/version-patch", "1.0/version-semantics", "1.0/version-empty")
async def test_the_method_picks_the_version(
    rpc: Wire, answering: dict[Wire, Client], version: str
) -> None:
    """Whatever version that is known here the request names, or none."""
    client = answering[rpc]
    params = client.params("hi")
    assert (await client.call(rpc.send, params, A2A_Version=version)).sent
    assert (await client.call(rpc.stream, params, A2A_Version=version)).events()


@pytest.mark.parametrize("version", UNKNOWN)
@requirement("1.0/version-unknown", "1.0/error-version")
async def test_an_unknown_version_is_refused(
    rpc: Wire, answering: dict[Wire, Client], version: str
) -> None:
    client = answering[rpc]
    named = {b"A2A-Version": version.encode()}
    for method in (rpc.send, rpc.stream, rpc.get):
        response = await client.http.post(
            "/a2a", json=call(method, client.params("hi")), headers=named
        )
        assert response.status_code == 200
        assert response.json()["error"]["code"] == -32009
    assert client.script.requests == []


@requirement("1.0/version-unknown")
async def test_an_unknown_version_is_refused_in_batches(
    rpc: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[rpc]
    batch = [call(rpc.send, client.params("hi")), call("unknown", {}, 2), 1]
    reply = await client.post(batch, A2A_Version="7.0")
    assert [body["error"]["code"] for body in reply.body] == [-32009] * 3


@pytest.mark.parametrize("name", ["A2A-Version", "a2a-version", "A2A-VERSION"])
@requirement("1.0/parameter-names", "1.0/version-query")
async def test_the_version_may_stand_in_the_query(
    rpc: Wire, answering: dict[Wire, Client], name: str
) -> None:
    client = answering[rpc]
    bare = client.speaking(V0_3)  # sends no header of its own
    request = call(rpc.send, client.params("hi"))
    known = await bare.post(request, path=f"/a2a?x=1&{name}={rpc.version}")
    assert "result" in known.body
    assert (await bare.post(request, path=f"/a2a?{name}=9.9")).body["error"]["code"] == -32009


@pytest.mark.parametrize("name", ["a2a-version", "A2A-VERSION", "A2a-Version"])
@requirement("1.0/parameter-names")
async def test_the_name_of_the_header_may_be_written_in_any_case(
    rpc: Wire, answering: dict[Wire, Client], name: str
) -> None:
    client = answering[rpc]
    request = call(rpc.send, client.params("hi"))
    response = await client.http.post("/a2a", json=request, headers={name: "9.9"})
    assert response.json()["error"]["code"] == -32009


@requirement("1.0/version-empty", "1.0/version-semantics")
async def test_a_strict_server_takes_the_version_at_its_word(rpc: Wire) -> None:
    """No version is 0.3 then, and the methods of the other version are refused."""
    async with in_process(Script(ANSWER), rpc, a2a={"strict_version": True}) as client:
        assert (await client.call(rpc.send, client.params("hi"))).sent
        assert (await client.call(rpc.stream, client.params("hi"))).events()
        other = client.speaking(OTHER[rpc])
        params = other.params("hi")
        for method in (other.wire.send, other.wire.stream):
            reply = await client.http.post(
                "/a2a", json=call(method, params), headers=client.wire.headers
            )
            assert reply.json()["error"]["code"] == -32009
        batch = await client.http.post(
            "/a2a", json=[call(other.wire.send, params)], headers=client.wire.headers
        )
        assert batch.json()[0]["error"]["code"] == -32009


@requirement("1.0/error-content", "rpc/error-object", on=JSON_RPC)
async def test_errors_that_belong_to_no_method_are_said_in_the_version_of_the_request() -> None:
    async with in_process(Script(ANSWER)) as client:
        for wire in (V1_0, V0_3):
            speaker = client.speaking(wire)
            assert (await speaker.post(b"not JSON")).code == -32700
            assert (await speaker.post(call("unknown", {}))).code == -32601
            assert (await speaker.post(b"{}", Content_Type="text/plain")).code == -32005


@requirement("1.0/get-state", "0.3/get", "1.0/same-results", "0.3/same-results")
async def test_a_task_of_one_version_is_a_task_of_the_other(
    wire: Wire, answering: dict[Wire, Client]
) -> None:
    client = answering[wire]
    task = await client.send_task("hi", wire.data({"a": 1}))
    other = client.speaking(other_version(wire))
    assert (await other.get(task["id"])).task == task
