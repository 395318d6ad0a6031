"""The agent card, held against the server that serves it."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from a2a.types import a2a_pb2
from google.protobuf.json_format import ParseDict

from tests.conformance._requirements import requirement
from tests.conformance.client import PACKAGED, in_process
from tests.conformance.reply import RpcReply
from tests.conformance.shapes import schema_of_0_3
from tests.conformance.wire_1_0 import GRPC_1_0
from tests.conformance.wires import WIRES
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from tests.conformance.client import Client

pytestmark = pytest.mark.anyio

BASE = "http://agent.test"
SETTINGS: dict[str, Any] = {"service": {"base_url": BASE}} | PACKAGED
CARD = "/.well-known/agent-card.json"
BINDINGS = {"JSONRPC": "JSON-RPC", "HTTP+JSON": "HTTP+JSON", "GRPC": "gRPC"}
REQUIRED = {
    "name",
    "description",
    "supportedInterfaces",
    "version",
    "capabilities",
    "defaultInputModes",
    "defaultOutputModes",
    "skills",
}


async def card(client: Client, query: str = "") -> Any:
    response = await client.http.get(f"{CARD}{query}")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    return response.json()


@requirement("1.0/card", "1.0/card-fields", "1.0/card-skills")
async def test_the_card_of_1_0_is_an_agent_card() -> None:
    async with in_process(Script(ANSWER), **SETTINGS) as client:
        written = await card(client, "?version=1.0")
        parsed = ParseDict(written, a2a_pb2.AgentCard())
        assert written.keys() >= REQUIRED
        assert all(written[name] for name in REQUIRED)
        assert parsed.supported_interfaces[0].protocol_version == "1.0"
        for skill in parsed.skills:
            assert skill.id
            assert skill.name
            assert skill.description
            assert skill.tags
        assert len({skill.id for skill in parsed.skills}) == len(parsed.skills)


@requirement("0.3/card", "0.3/card-url", "0.3/card-conflicts")
async def test_the_card_of_0_3_is_an_agent_card() -> None:
    async with in_process(Script(ANSWER), **SETTINGS) as client:
        written = await card(client, "?version=0.3")
        if (schema := schema_of_0_3("AgentCard")) is not None:
            schema.validate(written)
        assert (written["url"], written["preferredTransport"]) == (f"{BASE}/a2a", "JSONRPC")
        assert written["protocolVersion"].startswith("0.3")
        main = {"url": written["url"], "transport": written["preferredTransport"]}
        assert main in written["additionalInterfaces"]
        transports: dict[str, str] = {}
        for interface in written["additionalInterfaces"]:
            known = transports.setdefault(interface["url"], interface["transport"])
            assert known == interface["transport"]


@requirement("1.0/card", "0.3/card")
async def test_the_card_is_at_both_well_known_places_and_at_the_endpoint() -> None:
    """Clients of either version read the card that is served by default."""
    async with in_process(Script(ANSWER), **SETTINGS) as client:
        hybrid = await card(client)
        for path in ("/.well-known/agent.json", "/a2a", "/a2a/"):
            assert (await client.http.get(path)).json() == hybrid
        for version in ("1.0", "0.3"):
            written = await card(client, f"?version={version}")
            assert written.keys() <= hybrid.keys()
        if (schema := schema_of_0_3("AgentCard")) is not None:
            schema.validate(hybrid)


@requirement("1.0/card-interfaces", "0.3/card-interfaces")
async def test_every_interface_of_the_card_answers_as_it_is_declared() -> None:
    settings = SETTINGS | {"a2a": {"tenants": ("red",)}}
    async with in_process(Script(ANSWER), GRPC_1_0, **settings) as client:
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
            if (binding, version) == ("GRPC", "0.3"):
                continue  # spoken in test_grpc_0_3
            (wire,) = [w for w in WIRES if (w.binding, w.version) == (BINDINGS[binding], version)]
            speaker = client.speaking(wire)
            assert binding == "GRPC" or url == {"JSONRPC": f"{BASE}/a2a"}.get(binding, BASE)
            params = speaker.params("hi") | ({"tenant": tenant} if tenant else {})
            assert (await speaker.call(wire.send, params)).sent


@requirement("1.0/card-all", "0.3/card-complete")
async def test_every_binding_is_on_the_card() -> None:
    async with in_process(Script(ANSWER), GRPC_1_0, **SETTINGS) as client:
        written = await card(client)
        declared = {
            (i["protocolVersion"], BINDINGS[i["protocolBinding"]])
            for i in written["supportedInterfaces"]
        }
        assert declared == {(wire.version, wire.binding) for wire in WIRES} | {("0.3", "gRPC")}
        older = {i["transport"] for i in written["additionalInterfaces"]}
        assert older == {"JSONRPC", "HTTP+JSON", "GRPC"}


@requirement("1.0/version-card")
async def test_no_patch_version_is_on_the_card() -> None:
    async with in_process(Script(ANSWER), **SETTINGS) as client:
        written = await card(client, "?version=1.0")
        versions = {i["protocolVersion"] for i in written["supportedInterfaces"]}
        assert versions == {"1.0", "0.3"}


@requirement("1.0/card-presence")
async def test_nothing_on_the_card_is_null() -> None:
    async with in_process(Script(ANSWER), **SETTINGS) as client:
        for query in ("", "?version=1.0", "?version=0.3"):
            assert list(_empty("card", await card(client, query))) == []


def _empty(name: str, value: Any) -> list[str]:
    """Return where there is null, or a list or text that is not required and has nothing."""
    if value is None or value in ([], {}):
        return [name]
    if not isinstance(value, dict | list):
        return []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [found for key, item in items for found in _empty(f"{name}.{key}", item)]


@requirement("1.0/card-security", "1.0/card-no-secrets", "0.3/card-no-secrets")
async def test_a_server_that_asks_for_nothing_says_so() -> None:
    """Nor does it tell where it keeps what it remembers, or with what it asks its stack."""
    hidden: dict[str, Any] = {"openai": {"api_key": "secret-key"}}
    async with in_process(Script(ANSWER), **SETTINGS, **hidden) as client:
        response = await client.http.get(CARD)
        assert "secret-key" not in response.text
        written = response.json()
        assert written.keys().isdisjoint({"securitySchemes", "security", "securityRequirements"})
        assert await client.send("hi")


@requirement("1.0/card-cache-control", "1.0/card-etag", "1.0/card-last-modified")
async def test_the_card_may_be_kept() -> None:
    async with in_process(Script(ANSWER), **SETTINGS) as client:
        first = await client.http.get(CARD)
        assert "max-age=" in first.headers["cache-control"]
        assert parsedate_to_datetime(first.headers["last-modified"])
        assert (await client.http.get(CARD)).headers["etag"] == first.headers["etag"]
        for name, value in (
            ("If-None-Match", first.headers["etag"]),
            ("If-Modified-Since", first.headers["last-modified"]),
        ):
            again = await client.http.get(CARD, headers={name: value})
            assert (again.status_code, again.content) == (304, b"")
        other = await client.http.get(CARD, headers={"If-None-Match": '"another"'})
        assert other.json() == first.json()


@requirement("1.0/card")
async def test_the_card_does_not_believe_the_host_header() -> None:
    async with in_process(Script(ANSWER), **SETTINGS) as client:
        response = await client.http.get(CARD, headers={"Host": "evil.example"})
        assert "evil.example" not in response.text
        assert httpx.URL(json.loads(response.text)["url"]).host == "agent.test"


@requirement("1.0/card")
async def test_the_card_is_for_everybody() -> None:
    """Callers fetch it before they know how to authenticate, and browsers from another origin."""
    async with in_process(Script(ANSWER), **SETTINGS) as client:
        response = await client.http.get(CARD, headers={"Origin": "https://app.example"})
        assert response.headers["access-control-allow-origin"] == "*"


@requirement("1.0/card-capabilities", "0.3/card-capabilities")
async def test_capabilities_are_those_that_the_server_has() -> None:
    """Each that is declared works, and each that is not is refused."""
    async with in_process(Script(ANSWER), **SETTINGS) as client:
        written = await card(client)
        capabilities = written["capabilities"]
        assert capabilities["streaming"] is True
        assert await client.streamed("hi")
        task = await client.send_task("hi")
        listing = await client.call(client.wire.methods["list_push"], {"taskId": task["id"]})
        assert listing.is_error is not capabilities["pushNotifications"]
        extended = await client.call(client.wire.methods["extended_card"], {})
        assert isinstance(extended, RpcReply)
        assert extended.is_error is not capabilities["extendedAgentCard"]
        assert written["supportsAuthenticatedExtendedCard"] is capabilities["extendedAgentCard"]
