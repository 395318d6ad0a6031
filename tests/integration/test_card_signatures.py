"""Signed cards, public and extended, as clients of a2a-sdk get them from a server on a socket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from a2a.client import A2ACardResolver, ClientConfig, create_client
from a2a.types import AgentCard, GetExtendedAgentCardRequest
from a2a.utils.signing import InvalidSignaturesError, create_signature_verifier
from google.protobuf.json_format import ParseDict
from jwt import PyJWKSet

from agent.app import create_app
from agent.card import KEY_SET
from agent.cli.serve import STARTED
from agent.settings import Settings
from tests.fakes import keys
from tests.fakes.api_key import KEYED, SHOWN
from tests.fakes.scripted_stack import ANSWER, STACK, Script, scripted
from tests.fakes.server import listen, run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from jwt import PyJWK

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
CARD = "/.well-known/agent-card.json"
VERSIONS = pytest.mark.parametrize("version", ["hybrid", "1.0", "0.3"])


@asynccontextmanager
async def serving(**a2a: Any) -> AsyncIterator[str]:
    """Serve an agent with these settings of the section ``a2a``; yields its URL."""
    listening = listen()
    with scripted(Script(ANSWER)) as name, anyio.fail_after(10):
        settings = Settings.model_validate(
            {
                "name": name,
                "stack": STACK,
                "a2a_state": {"memory": True},
                "a2a": a2a,
                "authentication": KEYED,
                "service": {"base_url": listening[1]},
            }
        )
        async with run_server(create_app(settings), listening) as url:
            yield url


async def verifier(http: httpx.AsyncClient, url: str) -> Callable[[AgentCard], None]:
    """Return a2a-sdk's verifier, with the keys that the server publishes."""
    published = PyJWKSet.from_json((await http.get(f"{url}{KEY_SET}")).text)

    def provide(kid: str | None, jku: str | None) -> PyJWK:
        assert jku == f"{url}{KEY_SET}"
        return next(key for key in published.keys if key.key_id == kid)

    return create_signature_verifier(provide, ["ES256"])


@pytest.fixture
def signed(tmp_path: Path) -> dict[str, Any]:
    """Return settings with a key and an extended card."""
    extended = tmp_path / "extended.yaml"
    extended.write_text("skills: [{id: secret, name: Secret, description: Not for everybody.}]")
    key = keys.write(tmp_path / "key.pem")
    return {"signing_key": str(key), "extended_card_path": str(extended)}


@VERSIONS
async def test_the_client_of_a2a_sdk_verifies_the_card_it_gets(
    signed: dict[str, Any], version: str
) -> None:
    """Whatever version the card is of."""
    async with serving(card_version=version, **signed) as url, httpx.AsyncClient() as http:
        verify = await verifier(http, url)
        card = await A2ACardResolver(http, url).get_agent_card(signature_verifier=verify)

        assert card.supported_interfaces[0].url == f"{url}/a2a"
        card.description += "."
        with pytest.raises(InvalidSignaturesError):
            verify(card)


@VERSIONS
async def test_the_client_of_a2a_sdk_verifies_the_extended_card(
    signed: dict[str, Any], version: str
) -> None:
    """It speaks 0.3 to an agent whose card is of 0.3."""
    async with (
        serving(card_version=version, **signed) as url,
        httpx.AsyncClient(headers=SHOWN) as http,
    ):
        verify = await verifier(http, url)
        async with await create_client(url, ClientConfig(httpx_client=http)) as client:
            card = await client.get_extended_agent_card(GetExtendedAgentCardRequest())

    assert card.skills[-1].id == "secret"
    verify(card)


@pytest.mark.parametrize("method", ["GetExtendedAgentCard", "agent/getAuthenticatedExtendedCard"])
async def test_the_extended_card_is_of_the_version_of_the_method(
    signed: dict[str, Any], method: str
) -> None:
    """And its signatures are sound for whoever reads it as it is."""
    from agent.card_signing import check_signatures, covers_all

    async with serving(**signed) as url, httpx.AsyncClient(headers=SHOWN) as http:
        call = {"jsonrpc": "2.0", "id": 1, "method": method}
        card = (await http.post(f"{url}/a2a", json=call)).json()["result"]
        published = (await http.get(f"{url}{KEY_SET}")).json()["keys"]
        version = "0.3" if "/" in method else "1.0"
        public = (await http.get(f"{url}{CARD}", params={"version": version})).json()

    assert set(card) == set(public)
    assert covers_all(card, check_signatures(card, published))
    if version == "1.0":
        ParseDict(card, AgentCard())


async def test_an_agent_without_an_extended_card_declares_none() -> None:
    """Nor a key, when it signs nothing."""
    async with serving() as url, httpx.AsyncClient(headers=SHOWN) as http:
        async with await create_client(url, ClientConfig(httpx_client=http)) as client:
            public = await client.get_extended_agent_card(GetExtendedAgentCardRequest())
        assert not public.capabilities.extended_agent_card
        assert (await http.get(f"{url}{KEY_SET}")).status_code == 404
        for method, code in (
            ("GetExtendedAgentCard", -32004),
            ("agent/getAuthenticatedExtendedCard", -32007),
        ):
            call = {"jsonrpc": "2.0", "id": 1, "method": method}
            answer = await http.post(f"{url}/a2a", json=call)
            assert answer.json()["error"]["code"] == code


def test_worker_processes_say_when_the_server_was_started(tmp_path: Path) -> None:
    """Not when each of them was: the card must be the same whoever serves it."""
    (tmp_path / "config.yaml").write_text("a2a_state: {memory: true}")
    variables = {
        STARTED: "2026-01-02T03:04:05.678+00:00",
        "LLAMASTACK_A2A_CONFIG": "config.yaml",
        "PYTHONPATH": str(ROOT),
    }
    told = subprocess.run(
        [sys.executable, "-c", WORKER],
        cwd=tmp_path,
        env=os.environ | variables,
        capture_output=True,
        timeout=30,
        check=True,
    )

    assert json.loads(told.stdout) == "Fri, 02 Jan 2026 03:04:05 GMT"


WORKER = f"""
import asyncio, json, httpx
from agent.cli.serve import app_of_environment

async def main():
    transport = httpx.ASGITransport(app_of_environment())
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        print(json.dumps((await http.get("{CARD}")).headers["last-modified"]))

asyncio.run(main())
"""
"""What a worker process does, without the socket: it makes the application and serves the card."""
