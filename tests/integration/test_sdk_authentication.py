"""The client of a2a-sdk shows what the card asks for, by what it reads there and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

import anyio
import httpx
import pytest
from a2a.client import A2AClientError, ClientConfig, create_client
from a2a.client.auth.credentials import CredentialService
from a2a.client.auth.interceptor import AuthInterceptor
from a2a.helpers import new_text_message
from a2a.types import GetExtendedAgentCardRequest, Role, SendMessageRequest

from agent.app import create_app
from agent.settings import Settings
from tests.fakes.api_key import KEY, KEYED
from tests.fakes.identities import TOLD, user
from tests.fakes.scripted_stack import ANSWER, STACK, Script, scripted
from tests.fakes.server import listen, run_server

if TYPE_CHECKING:
    from pathlib import Path

    from a2a.client.client import ClientCallContext

pytestmark = pytest.mark.anyio

SHOWN = {"bearer": KEY, "identity": user("ann")["x-rh-identity"]}


class Shown(CredentialService):
    """Has something to show for each scheme, by its name on the card."""

    @override
    async def get_credentials(
        self, security_scheme_name: str, context: ClientCallContext | None
    ) -> str | None:
        return SHOWN[security_scheme_name]


@pytest.mark.parametrize("version", ["hybrid", "1.0", "0.3"])
@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
@pytest.mark.parametrize("authentication", [KEYED, TOLD], ids=["bearer", "header"])
async def test_the_client_authenticates_as_the_card_says(
    version: str, binding: str, authentication: dict[str, Any], tmp_path: Path
) -> None:
    """For messages and for the extended card; a client that does not read the card is refused."""
    extended = tmp_path / "extended.yaml"
    extended.write_text("description: For those who are known.")
    listening = listen()
    with scripted(Script(ANSWER)) as name, anyio.fail_after(30):
        settings = {
            "name": name,
            "stack": STACK,
            "a2a_state": {"memory": True},
            "a2a": {"card_version": version, "extended_card_path": str(extended)},
            "service": {"base_url": listening[1]},
            "authentication": authentication,
        }
        app = create_app(Settings.model_validate(settings))
        async with run_server(app, listening) as url, httpx.AsyncClient() as http:
            config = ClientConfig(httpx_client=http, supported_protocol_bindings=[binding])
            message = new_text_message("hi", role=Role.ROLE_USER)
            request = SendMessageRequest(message=message)
            known = await create_client(url, config, interceptors=[AuthInterceptor(Shown())])
            assert [event async for event in known.send_message(request)]
            card = await known.get_extended_agent_card(GetExtendedAgentCardRequest())
            assert card.description == "For those who are known."
            unknown = await create_client(url, config)
            with pytest.raises(A2AClientError, match="401"):
                _ = [event async for event in unknown.send_message(request)]
