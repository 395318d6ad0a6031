"""The agent card, held against the server that serves it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from a2a.types import a2a_pb2
from google.protobuf.json_format import ParseDict

from tests.conformance._requirements import requirement
from tests.conformance.client import Client, call, in_process
from tests.conformance.wire import V0_3, V1_0, schema_of_0_3
from tests.fakes.scripted_stack import ANSWER, Script

pytestmark = pytest.mark.anyio

BASE = "http://agent.test"
SETTINGS: dict[str, Any] = {"service": {"base_url": BASE}}
WIRES = {"1.0": V1_0, "0.3": V0_3}


async def card(client: Client, query: str = "") -> Any:
    response = await client.http.get(f"/.well-known/agent-card.json{query}")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    return response.json()


@requirement("1.0/card", "1.0/camel-case")
async def test_the_card_of_1_0_is_an_agent_card() -> None:
    async with in_process(Script(ANSWER), **SETTINGS) as client:
        written = await card(client, "?version=1.0")
        parsed = ParseDict(written, a2a_pb2.AgentCard())
        assert parsed.name
        assert parsed.description
        assert parsed.version
        assert parsed.skills
        assert parsed.default_input_modes
        assert parsed.default_output_modes
        assert parsed.capabilities.streaming
        assert parsed.supported_interfaces[0].protocol_version == "1.0"


@requirement("0.3/card", "0.3/card-url", "0.3/card-conflicts")
async def test_the_card_of_0_3_is_an_agent_card() -> None:
    async with in_process(Script(ANSWER), **SETTINGS) as client:
        written = await card(client, "?version=0.3")
        if (schema := schema_of_0_3("AgentCard")) is not None:
            schema.validate(written)
        assert (written["url"], written["preferredTransport"]) == (f"{BASE}/a2a", "JSONRPC")
        assert written["protocolVersion"].startswith("0.3")
        assert written["capabilities"]["streaming"] is True
        transports: dict[str, str] = {}
        for interface in written["additionalInterfaces"]:
            assert (
                transports.setdefault(interface["url"], interface["transport"])
                == (interface["transport"])
            )


@requirement("1.0/card", "0.3/card")
async def test_the_card_is_at_both_well_known_places_and_at_the_endpoint() -> None:
    """Clients of either version read the card that is served by default."""
    async with in_process(Script(ANSWER), **SETTINGS) as client:
        hybrid = await card(client)
        for path in ("/.well-known/agent.json", "/a2a", "/a2a/"):
            assert (await client.http.get(path)).json() == hybrid
        for version in WIRES:
            written = await card(client, f"?version={version}")
            assert written.keys() <= hybrid.keys()


@requirement("1.0/card-interfaces", "0.3/card-interfaces", "1.0/tenant")
async def test_every_interface_of_the_card_answers_as_it_is_declared() -> None:
    settings = SETTINGS | {"a2a": {"tenants": ("red",)}}
    async with in_process(Script(ANSWER), **settings) as client:
        written = await card(client)
        interfaces = [
            (i["url"], i["protocolBinding"], i["protocolVersion"], i.get("tenant"))
            for i in written["supportedInterfaces"]
        ]
        interfaces += [
            (i["url"], i["transport"], "0.3", None) for i in written["additionalInterfaces"]
        ]
        interfaces.append((written["url"], written["preferredTransport"], "0.3", None))
        assert (f"{BASE}/a2a", "JSONRPC", "1.0", "red") in interfaces
        for url, binding, version, tenant in interfaces:
            assert binding == "JSONRPC"
            speaker = Client(client.http, WIRES[version], client.script)
            params = speaker.params("hi") | ({"tenant": tenant} if tenant else {})
            assert (await speaker.post(call(speaker.wire.send, params), url)).sent


@requirement("1.0/card-caching")
async def test_the_card_may_be_kept() -> None:
    async with in_process(Script(ANSWER), **SETTINGS) as client:
        first = await client.http.get("/.well-known/agent-card.json")
        assert "max-age=" in first.headers["cache-control"]
        assert first.headers["last-modified"]
        again = await client.http.get(
            "/.well-known/agent-card.json", headers={"If-None-Match": first.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")


@requirement("1.0/card")
async def test_the_card_does_not_believe_the_host_header() -> None:
    async with in_process(Script(ANSWER), **SETTINGS) as client:
        response = await client.http.get(
            "/.well-known/agent-card.json", headers={"Host": "evil.example"}
        )
        assert "evil.example" not in response.text
        assert httpx.URL(json.loads(response.text)["url"]).host == "agent.test"
