"""Extensions of the protocol: declared, chosen, told of, and required."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance._requirements import requirement
from tests.conformance.client import call, in_process
from tests.conformance.wire_1_0 import V1_0
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from tests.conformance.client import Client, Reply
    from tests.conformance.wire import Wire

pytestmark = pytest.mark.anyio

GEO = "https://a.example/geo/v1"
CITE = "https://b.example/cite/v2"
DECLARED: dict[str, Any] = {
    "a2a": {
        "extensions": (
            {"uri": GEO, "description": "Where you are.", "params": {"unit": "metre"}},
            {"uri": CITE},
        )
    }
}
REQUIRED: dict[str, Any] = {"a2a": {"extensions": ({"uri": GEO, "required": True}, {"uri": CITE})}}


def header(wire: Wire) -> str:
    """Return the name of the service parameter."""
    return "A2A-Extensions" if wire.version == "1.0" else "X-A2A-Extensions"


def echoed(wire: Wire, reply: Reply) -> set[str]:
    """Return the extensions that an answer says are in use."""
    said = {name.lower(): value for name, value in reply.headers.items()}
    named = said.get(header(wire).lower(), "")
    return {uri.strip() for uri in named.split(",")} - {""}


@requirement("1.0/extension-declared")
async def test_extensions_are_on_the_card() -> None:
    async with in_process(Script(ANSWER), **DECLARED) as client:
        for query in ("", "?version=1.0", "?version=0.3"):
            card = (await client.http.get(f"/.well-known/agent-card.json{query}")).json()
            assert card["capabilities"]["extensions"] == [
                {"uri": GEO, "description": "Where you are.", "params": {"unit": "metre"}},
                {"uri": CITE},
            ]


WANTED: list[tuple[str, set[str]]] = [
    (GEO, {GEO}),
    (f"{CITE},{GEO}", {GEO, CITE}),
    (f" {GEO} ,, {CITE} ,{GEO}", {GEO, CITE}),
    ("https://c.example/other/v1", set()),
    (f"https://c.example/other/v1, {GEO}", {GEO}),
    ("", set()),
]


@requirement(
    "1.0/extension-chosen", "1.0/extension-unknown", "1.0/parameter-names", "0.3/extensions"
)
async def test_those_that_are_asked_for_and_known_are_used(wire: Wire) -> None:
    """What is used is told in the answer, and to the stack."""
    async with in_process(Script(ANSWER), wire, **DECLARED) as client:
        params = client.params("hi")
        for wanted, used in WANTED:
            client.script.requests.clear()
            for method in (wire.send, wire.stream):
                reply = await client.call(method, params, **{header(wire): wanted})
                assert reply.sent if method == wire.send else reply.events()
                assert echoed(wire, reply) == used
            assert [set(request.extensions) for request in client.script.requests] == [used, used]


@requirement("1.0/extension-exact", "0.3/extensions")
async def test_another_version_of_an_extension_is_another_extension(wire: Wire) -> None:
    async with in_process(Script(ANSWER), wire, **DECLARED) as client:
        other = {header(wire): GEO.replace("v1", "v2")}
        reply = await client.call(wire.send, client.params("hi"), **other)
        assert reply.sent
        assert echoed(wire, reply) == set()
        assert client.script.requests[0].extensions == ()


@requirement("1.0/extension-chosen", "1.0/parameter-names", "1.0/rpc-headers", "1.0/http-headers")
@pytest.mark.parametrize("name", ["a2a-extensions", "A2A-EXTENSIONS", "A2a-Extensions"])
async def test_the_name_of_the_parameter_knows_no_case(latest_json: Wire, name: str) -> None:
    async with in_process(Script(ANSWER), latest_json, **DECLARED) as client:
        reply = await client.call(latest_json.send, client.params("hi"), **{name: GEO})
        assert echoed(latest_json, reply) == {GEO}


@requirement("1.0/extension-required", "1.0/error-extension", "1.0/extension-exact")
async def test_a_required_extension_must_be_asked_for(wire: Wire) -> None:
    """Whatever is called; and asking for another one does not help."""
    async with in_process(Script(ANSWER), wire, **REQUIRED) as client:
        operations = await every_operation(client, {header(wire): CITE})
        assert {name: reply.code for name, reply in operations.items()} == dict.fromkeys(
            operations, -32008
        )
        assert client.script.requests == []
        reply = await client.call(wire.send, client.params("hi"), **{header(wire): GEO})
        assert reply.sent
        assert echoed(wire, reply) == {GEO}


async def every_operation(client: Client, headers: dict[str, str]) -> dict[str, Reply]:
    """Call each operation with parameters that could be good."""
    wire = client.wire
    task, config = {"id": "task-1"}, wire.push_id_params("task-1", "config-1")
    webhook = wire.push_config("https://a.example/hook")
    params = {
        "send": client.params("hi"),
        "stream": client.params("hi"),
        "get": task,
        "cancel": task,
        "subscribe": task,
        "create_push": wire.push_params("task-1", webhook),
        "get_push": config,
        "list_push": wire.push_task_params("task-1"),
        "delete_push": config,
        "extended_card": {},
    }
    return {
        name: await client.call(wire.methods[name], given, **headers)
        for name, given in params.items()
    }


@requirement("1.0/extension-required", "1.0/error-extension", on="JSON-RPC")
async def test_a_required_extension_is_required_within_batches() -> None:
    async with in_process(Script(ANSWER), V1_0, **REQUIRED) as client:
        batch = [call(V1_0.send, client.params("hi"), n) for n in range(2)]
        refused = await client.post(batch)
        assert [body["error"]["code"] for body in refused.body] == [-32008, -32008]
        good = await client.post(batch, A2A_Extensions=GEO)
        assert ["result" in body for body in good.body] == [True, True]


@requirement("1.0/extension-data", "0.3/extensions")
async def test_an_extension_has_its_data_in_the_metadata(wire: Wire) -> None:
    async with in_process(Script(ANSWER), wire, **DECLARED) as client:
        fields = {"extensions": [GEO], "metadata": {GEO: {"latitude": 47.4, "precise": True}}}
        params = client.params("hi", **fields)
        task = (await client.call(wire.send, params, **{header(wire): GEO})).sent["task"]
        message = task["history"][0]
        assert {name: message[name] for name in fields} == fields
        assert client.script.requests[0].metadata == fields["metadata"]
