"""The extended agent card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance._requirements import requirement
from tests.conformance.client import in_process
from tests.conformance.wire_1_0 import V1_0
from tests.fakes.api_key import KEYED, SHOWN
from tests.fakes.scripted_stack import ANSWER, Script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.wire import Wire

pytestmark = pytest.mark.anyio

EXTENDED = """
description: For those who are known.
skills:
  - {id: secret-sauce, name: Sauce, description: Cooks the sauce., tags: [cooking]}
"""


@pytest.fixture
def extended(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "extended.yaml"
    path.write_text(EXTENDED, encoding="utf-8")
    return {"a2a": {"extended_card_path": path}, "authentication": KEYED}


@requirement("1.0/extended-card", "1.0/method-names", "1.0/rpc-no-params", "0.3/extended-card")
async def test_the_extended_card_is_a_complete_card_with_more_on_it(
    wire: Wire, extended: dict[str, Any]
) -> None:
    async with in_process(Script(ANSWER), wire, **extended) as client:
        public = (await client.http.get("/.well-known/agent-card.json")).json()
        assert public["capabilities"]["extendedAgentCard"] is True
        assert public["supportsAuthenticatedExtendedCard"] is True
        reply = await client.showing(SHOWN).call(wire.methods["extended_card"], {})
        card = wire.read_card(reply.result)
        assert card["description"] == "For those who are known."
        skills = {skill["id"] for skill in card["skills"]}
        assert skills == {skill["id"] for skill in public["skills"]} | {"secret-sauce"}
        assert "secret-sauce" not in str(public)


@requirement("1.0/rpc-no-params", "0.3/extended-card")
async def test_no_parameters_are_needed(rpc: Wire, extended: dict[str, Any]) -> None:
    async with in_process(Script(ANSWER), rpc, **extended) as client:
        request = {"jsonrpc": "2.0", "id": 1, "method": rpc.methods["extended_card"]}
        assert rpc.read_card((await client.showing(SHOWN).post(request)).result)


@requirement(
    "1.0/extended-card-undeclared",
    "1.0/error-unsupported",
    "0.3/extended-card-none",
    "0.3/a2a-errors",
)
async def test_where_there_is_none_that_is_said(wire: Wire, answering: dict[Wire, Any]) -> None:
    """In the words of the version: 1.0 has another error for what was declared and is not there."""
    reply = await answering[wire].call(wire.methods["extended_card"], {})
    assert reply.code == (-32004 if wire.version == "1.0" else -32007)


@requirement("1.0/tenant", "1.0/validation")
async def test_a_tenant_that_is_not_here_has_no_card(
    latest: Wire, extended: dict[str, Any]
) -> None:
    settings = extended | {"a2a": extended["a2a"] | {"tenants": ("red",)}}
    async with in_process(Script(ANSWER), latest, **settings) as server:
        client = server.showing(SHOWN)
        method = latest.methods["extended_card"]
        assert (await client.call(method, {"tenant": "red"})).result
        assert (await client.call(method, {"tenant": "blue"})).is_error


@requirement("1.0/extended-card", on=V1_0.binding)
async def test_the_extended_card_of_1_0_names_no_0_3_fields(extended: dict[str, Any]) -> None:
    async with in_process(Script(ANSWER), V1_0, **extended) as client:
        card = (await client.showing(SHOWN).call(V1_0.methods["extended_card"], {})).result
        assert "supportedInterfaces" in card
        assert card.keys().isdisjoint({"url", "preferredTransport", "additionalInterfaces"})
