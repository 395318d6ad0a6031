"""Tokens of Entra ID over sockets: fetched, kept, and shown to a Llama Stack for Azure's models."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Mount, Route

from agent.errors import StackUnavailable
from agent.settings import Settings
from agent.settings.lcs import AzureEntraId
from agent.stacks import TextPart, TurnCompleted, TurnEvent, TurnRequest
from agent.stacks.azure import LEEWAY_SECONDS, PAUSE_SECONDS, AzureTokens
from agent.stacks.remote import RemoteStack
from tests.fakes import llama_stack, responses
from tests.fakes.entra import CLIENT, SECRET, TENANT, FakeEntra, credentials
from tests.fakes.llama_stack import FakeLlamaStack
from tests.fakes.responses import FakeResponses
from tests.fakes.server import run_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.anyio

HEADER = "x-llamastack-provider-data"
BASE = "https://models.azure.test/openai/v1"
AZURE = {"provider_id": "azure", "provider_type": "remote::azure", "config": {"base_url": BASE}}
VLLM = {"provider_id": "vllm", "provider_type": "remote::vllm", "config": {"url": "http://v.test"}}
NOBODY = "http://127.0.0.1:9"


class Clock:
    """Tells the time that a test wants."""

    now = 1000.0

    def __call__(self) -> float:
        """Return it."""
        return self.now


@asynccontextmanager
async def tokens(fake: FakeEntra, **changes: Any) -> AsyncIterator[tuple[AzureTokens, Clock]]:
    """Serve Entra ID; yields the tokens of a client, and its clock."""
    clock = Clock()
    with anyio.fail_after(10):
        async with run_server(fake.app) as url:
            section = AzureEntraId.model_validate(credentials(url, **changes))
            yield AzureTokens(section, clock), clock


async def test_a_token_is_asked_for_with_the_credentials_of_the_client() -> None:
    entra = FakeEntra()
    async with tokens(entra, scope="https://own.test/.default") as (client, _):
        assert await client.token() == "token-1"
    assert entra.forms == [
        {
            "tenant": TENANT,
            "grant_type": "client_credentials",
            "client_id": CLIENT,
            "client_secret": SECRET,
            "scope": "https://own.test/.default",
        }
    ]


async def test_a_tenant_cannot_be_a_path() -> None:
    entra = FakeEntra()
    async with tokens(entra, tenant_id="../a/b?c") as (client, _):
        with pytest.raises(StackUnavailable):
            await client.token()
    assert entra.forms == []


async def test_a_token_is_kept_until_shortly_before_it_ends() -> None:
    async with tokens(FakeEntra(3600)) as (client, clock):
        first = [await client.token()]
        clock.now += 3600 - LEEWAY_SECONDS - 1
        first.append(await client.token())
        clock.now += 1
        assert first == ["token-1", "token-1"]
        assert await client.token() == "token-2"


async def test_a_token_that_hardly_lasts_is_used_for_half_its_time() -> None:
    async with tokens(FakeEntra("20")) as (client, clock):
        with pytest.raises(StackUnavailable):
            await client.token()  # a number is a number
    async with tokens(FakeEntra(20)) as (client, clock):
        said = []
        for pause in (0, 9, 1):
            clock.now += pause
            said.append(await client.token())
    assert said == ["token-1", "token-1", "token-2"]


async def test_all_who_wait_share_one_request() -> None:
    entra = FakeEntra()
    said: list[str] = []
    async with tokens(entra) as (client, _):

        async def ask() -> None:
            said.append(await client.token())

        async with anyio.create_task_group() as asking:
            for _ in range(20):
                asking.start_soon(ask)
    assert said == ["token-1"] * 20
    assert len(entra.forms) == 1


@pytest.mark.parametrize(
    "broken",
    [
        (401, {"error": "invalid_client", "error_description": f"{SECRET} is wrong"}),
        (302, {}),
        (500, SECRET),
        (200, {"error": SECRET}),
        (200, [SECRET]),
        (200, {"access_token": "", "expires_in": 60}),
        (200, {"access_token": "t", "expires_in": 0}),
        (200, {"access_token": "t" * 70_000, "expires_in": 60}),
    ],
    ids=["401", "302", "500", "no-token", "no-object", "empty", "ended", "too-long"],
)
async def test_no_token_is_told_without_what_was_sent_and_asked_for_after_a_pause(
    broken: tuple[int, Any], caplog: pytest.LogCaptureFixture
) -> None:
    entra = FakeEntra()
    entra.broken = broken
    caplog.set_level(logging.INFO, "agent")
    async with tokens(entra) as (client, clock):
        for _ in range(3):
            with pytest.raises(StackUnavailable) as caught:
                await client.token()
            assert caught.value.message == "Entra ID gives no token for Azure's models."
        assert len(entra.forms) == 1
        entra.broken = None
        clock.now += PAUSE_SECONDS
        assert await client.token() == "token-2"
    said = "\n".join(f"{record.getMessage()} {record.exc_text}" for record in caplog.records)
    assert "Entra ID gives no token" in said
    assert SECRET not in said


async def test_an_entra_id_that_is_away_is_no_failure_while_the_token_lasts() -> None:
    entra = FakeEntra(3600)
    async with tokens(entra) as (client, clock):
        await client.token()
        entra.broken = (503, {})
        clock.now += 3600 - LEEWAY_SECONDS
        assert await client.token() == "token-1"
        clock.now += LEEWAY_SECONDS
        with pytest.raises(StackUnavailable):
            await client.token()


async def test_an_entra_id_that_cannot_be_reached_is_an_unavailable_stack() -> None:
    client = AzureTokens(AzureEntraId.model_validate(credentials(NOBODY)))
    with pytest.raises(StackUnavailable):
        await client.token()


async def test_an_entra_id_that_does_not_end_its_answer_is_not_waited_for() -> None:
    async def trickle(_: Request) -> StreamingResponse:
        async def bytes_for_ever() -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await anyio.sleep(0.02)

        return StreamingResponse(bytes_for_ever())

    app = Starlette(routes=[Route("/{path:path}", trickle, methods=["POST"])])
    with anyio.fail_after(10):
        async with run_server(app) as url:
            section = AzureEntraId.model_validate(credentials(url))
            with pytest.raises(StackUnavailable):
                await AzureTokens(section, patience=0.2).token()


class Watched:
    """A fake Llama Stack with providers of the test's choice; keeps what it is shown with POSTs."""

    def __init__(self, app: ASGIApp, *providers: Any) -> None:
        self._app = Starlette(
            routes=[Route("/v1/providers", self._list), Mount("/", app)],
        )
        self._providers = providers
        self.listed = 0
        self.shown: dict[str, Any] = {}
        """What was shown to providers, by the last word of the path."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the fake does."""
        if scope["type"] == "http" and scope["method"] == "POST":
            headers = {name.decode(): value for name, value in scope["headers"]}
            given = json.loads(headers[HEADER]) if HEADER in headers else None
            self.shown[scope["path"].rpartition("/")[2]] = given
        await self._app(scope, receive, send)

    async def _list(self, _: Request) -> JSONResponse:
        self.listed += 1
        return JSONResponse({"data": list(self._providers)})


@asynccontextmanager
async def stack_on(watched: Watched, entra: str, **sections: Any) -> AsyncIterator[RemoteStack]:
    """Open the stack that fits, with credentials for Azure."""
    async with run_server(watched) as url:
        settings = {"llama_stack": {"url": url, "timeout": 5}, "azure_entra_id": credentials(entra)}
        stack = RemoteStack(Settings.model_validate(settings | sections))
        await stack.open()
        try:
            with anyio.fail_after(10):
                yield stack
        finally:
            await stack.close()


async def turn(stack: RemoteStack) -> list[TurnEvent]:
    """Run a turn in a conversation of its own."""
    request = TurnRequest(
        conversation_id=await stack.start_conversation("o"),
        task_id="t",
        context_id="c",
        message_id="m",
        owner="o",
        tenant="",
        parts=(TextPart("Hello"),),
    )
    return [event async for event in stack.turn(request)]


def model_of(provider: str) -> dict[str, Any]:
    """Return settings whose model is a provider's."""
    return {"inference": {"default_model": "small", "default_provider": provider}}


def of_responses(*providers: Any) -> Watched:
    """Return a Llama Stack of the Responses API that answers turns."""
    fake = FakeResponses()
    fake.models = [responses.model(f"{name}/small") for name in ("azure", "vllm")]
    fake.scripts = [responses.Script(responses.answer("Hi")) for _ in range(3)]
    return Watched(fake.app, *providers)


def of_agents(*providers: Any) -> Watched:
    """Return a Llama Stack of the agents API that answers turns."""
    fake = FakeLlamaStack()
    fake.models = [llama_stack.model(f"{name}/small") for name in ("azure", "vllm")]
    fake.scripts = [llama_stack.Script(llama_stack.answer("Hi")) for _ in range(3)]
    return Watched(fake.app, *providers)


BOTH = pytest.mark.parametrize(
    ("make", "path"),
    [(of_responses, "responses"), (of_agents, "turn")],
    ids=["responses", "agents"],
)


@BOTH
async def test_turns_of_azures_models_show_the_token_beside_what_others_get(
    make: Any, path: str
) -> None:
    watched, entra = make(VLLM, AZURE), FakeEntra()
    async with run_server(entra.app) as url, stack_on(watched, url, **model_of("azure")) as stack:
        for _ in range(2):
            events = await turn(stack)
            assert isinstance(events[-1], TurnCompleted)
    assert watched.shown[path] == {"azure_api_key": "token-1", "azure_api_base": BASE}
    assert len(entra.forms) == watched.listed == 1


async def test_the_older_name_of_the_base_is_known_too() -> None:
    watched = of_agents(AZURE | {"config": {"api_base": "https://old.test"}})
    async with run_server(FakeEntra().app) as url, stack_on(watched, url) as stack:
        await turn(stack)
    assert watched.shown["turn"]["azure_api_base"] == "https://old.test"


@BOTH
async def test_turns_of_other_models_go_on_without_a_token(make: Any, path: str) -> None:
    watched = make(VLLM, AZURE)
    async with stack_on(watched, NOBODY, **model_of("vllm")) as stack:
        events = await turn(stack)
    assert isinstance(events[-1], TurnCompleted)
    assert watched.shown[path] is None


@BOTH
async def test_a_llama_stack_without_azure_is_shown_no_token(make: Any, path: str) -> None:
    watched, entra = make(VLLM), FakeEntra()
    async with run_server(entra.app) as url, stack_on(watched, url, **model_of("vllm")) as stack:
        await turn(stack)
    assert watched.shown[path] is None
    assert entra.forms == []


@BOTH
async def test_without_a_token_azures_turns_fail_with_our_words(make: Any, path: str) -> None:
    watched = make(AZURE)
    async with stack_on(watched, NOBODY, **model_of("azure")) as stack:
        with pytest.raises(StackUnavailable) as caught:
            await turn(stack)
    assert caught.value.message == "Entra ID gives no token for Azure's models."
    assert path not in watched.shown


async def test_what_else_is_asked_of_the_llama_stack_shows_no_token() -> None:
    watched, entra = of_agents(AZURE), FakeEntra()
    async with run_server(entra.app) as url, stack_on(watched, url) as stack:
        await stack.models()
        await stack.start_conversation("o")
    assert set(watched.shown.values()) == {None}
    assert entra.forms == []
